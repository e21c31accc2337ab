import { readFile } from "node:fs/promises";
import path from "node:path";
import { TASK_TYPES } from "#lib/domain/model/task-types.ts";
import type { BuiltIn } from "./executor.ts";
import { INHERITED_PATH, runProcessTask } from "./process-task.ts";

/** The module "sluice" that programs may import: the standard library and nothing else. */
const HELPER = new URL("./python/sluice.py", import.meta.url);
let helperText: Promise<string> | undefined;
const helper = (): Promise<string> => (helperText ??= readFile(HELPER, "utf8"));

const PROGRAM = "task.py";

/** What the `activate` of a virtual environment sets, for the programs that this one starts. */
function activated(venv: string, before: string): Record<string, string> {
  return { VIRTUAL_ENV: venv, PATH: `${path.join(venv, "bin")}:${before}` };
}

/** A Python program as a process of its own. */
export const python: BuiltIn<"python"> = {
  type: "python",
  ...TASK_TYPES.python,
  async run(context, { code, file, args, interpreter = "python3", venv, cwd, ...codes }) {
    const text = file === undefined ? code! : await context.sourceOf(file);
    const program = {
      file: venv === undefined ? interpreter : path.join(venv, "bin/python"),
      // A file and not -c: a traceback shows the line that failed. -u: what the program prints is in the log at once.
      args: ["-u", path.join(context.workDir, PROGRAM), ...args],
      files: { [PROGRAM]: text, "sluice.py": await helper() },
      env: venv === undefined ? {} : activated(venv, context.env["PATH"] ?? INHERITED_PATH),
      cwd,
      what: "program",
    };
    return runProcessTask(context, program, codes);
  },
};
