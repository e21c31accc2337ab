import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Evaluated, EvaluateRequest } from "./protocol.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

/** A definition is data with a few imports; one that takes longer waits for something it should not. */
const TIME_LIMIT_MS = 10_000;

export type Evaluator = { evaluate(request: EvaluateRequest): Promise<Evaluated>; stop(): void };

/**
 * Evaluates one file at a time in a child with a clean environment. Modules are cached for the life of the child,
 * so a pass over changed files takes a new evaluator. A file that hangs or ends the child costs only itself.
 */
export function createEvaluator(dagsDir: string, env: Record<string, string>): Evaluator {
  let child: ChildProcess | undefined;
  const launch = (): ChildProcess =>
    fork(CHILD, [dagsDir], {
      cwd: dagsDir,
      env: env as NodeJS.ProcessEnv,
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });

  return {
    evaluate(request) {
      const current = (child ??= launch());
      return new Promise((resolve) => {
        const settle = (answer: Evaluated): void => {
          clearTimeout(timer);
          current.off("message", settle);
          current.off("exit", onExit);
          resolve(answer);
        };
        const onExit = (code: number | null): void => {
          child = undefined;
          settle({ ok: false, message: `the file ended the process that evaluates it (exit code ${code})` });
        };
        const timer = setTimeout(() => {
          child = undefined;
          settle({ ok: false, message: `the file was not evaluated within ${TIME_LIMIT_MS / 1000} s` });
          current.kill("SIGKILL");
        }, TIME_LIMIT_MS);
        current.on("message", settle);
        current.on("exit", onExit);
        current.send(request);
      });
    },
    stop() {
      child?.kill("SIGKILL");
      child = undefined;
    },
  };
}
