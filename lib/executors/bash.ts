import path from "node:path";
import { TASK_TYPES } from "#lib/domain/model/task-types.ts";
import type { BuiltIn } from "./executor.ts";
import { runProcessTask } from "./process-task.ts";

const SCRIPT = "script.sh";

/** A shell command or script as a process of its own. */
export const bash: BuiltIn<"bash"> = {
  type: "bash",
  ...TASK_TYPES.bash,
  async run(context, { command, script, args, cwd, strict, ...codes }) {
    const flags = strict ? ["-euo", "pipefail"] : [];
    if (script === undefined) {
      const program = { file: "bash", args: [...flags, "-c", command!], cwd, what: "command" };
      return runProcessTask(context, program, codes);
    }
    const program = {
      file: "bash",
      args: [...flags, path.join(context.workDir, SCRIPT), ...args],
      files: { [SCRIPT]: await context.sourceOf(script) },
      cwd,
      what: "script",
    };
    return runProcessTask(context, program, codes);
  },
};
