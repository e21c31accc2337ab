import type { z } from "zod";
import type { BashConfig } from "#lib/domain/model/task-types.ts";
import type { Executor } from "./executor.ts";
import { runProcessTask } from "./process-task.ts";

/** A shell command as a process of its own. */
export const bash: Executor<z.output<typeof BashConfig>> = {
  displayName: "Bash",
  run: (context, { command, skipOn }) =>
    runProcessTask(context, { file: "bash", args: ["-euo", "pipefail", "-c", command], what: "command" }, skipOn),
};
