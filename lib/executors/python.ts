import { readFile } from "node:fs/promises";
import path from "node:path";
import type { z } from "zod";
import type { PythonConfig } from "#lib/domain/model/task-types.ts";
import type { Executor } from "./executor.ts";
import { runProcessTask } from "./process-task.ts";

/** The module "sluice" that programs may import: the standard library and nothing else. */
const HELPER = new URL("./python/sluice.py", import.meta.url);
let helperText: Promise<string> | undefined;
const helper = (): Promise<string> => (helperText ??= readFile(HELPER, "utf8"));

/** A Python program as a process of its own. */
export const python: Executor<z.output<typeof PythonConfig>> = {
  displayName: "Python",
  async run(context, { code, args, interpreter, skipOn }) {
    // A file and not -c: a traceback shows the line that failed.
    const file = path.join(context.workDir, "task.py");
    // -u: what the program prints is in the log at once.
    const program = {
      file: interpreter,
      args: ["-u", file, ...args],
      files: { "task.py": code, "sluice.py": await helper() },
      what: "program",
    };
    return runProcessTask(context, program, skipOn);
  },
};
