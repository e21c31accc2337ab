import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { NO_PLACES, type PluginPlaces } from "../plugins/places.ts";
import { type Evaluated, type EvaluateRequest, isEvaluated } from "./protocol.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

/** A definition is data with a few imports; one that takes longer waits for something it should not. */
const TIME_LIMIT_MS = 10_000;

export type Evaluator = { evaluate(request: EvaluateRequest): Promise<Evaluated>; stop(): void };

/**
 * Evaluates one file at a time in a child with a clean environment. Modules are cached for the life of the child,
 * so a pass over changed files takes a new evaluator. A file that hangs or ends the child costs only itself.
 */
export function createEvaluator(
  dagsDir: string,
  env: Record<string, string>,
  plugins: PluginPlaces = NO_PLACES,
): Evaluator {
  let child: ChildProcess | undefined;

  const launch = (): ChildProcess => {
    const launched = fork(CHILD, [dagsDir, JSON.stringify(plugins)], {
      cwd: dagsDir,
      env: env as NodeJS.ProcessEnv,
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    // A file may leave something behind that ends the child between two requests.
    const forget = (): void => {
      if (child === launched) child = undefined;
    };
    launched.on("exit", forget);
    launched.on("error", forget);
    return launched;
  };

  /** Files that the present child has been given before. */
  let served = 0;

  const evaluator: Evaluator = {
    evaluate(request) {
      if (child === undefined) served = 0;
      const current = (child ??= launch());
      const isFirst = served++ === 0;
      const what = request.kind === "plugin" ? "the plugin" : "the file";
      return new Promise((resolve) => {
        const settle = (answer: Evaluated): void => {
          clearTimeout(timer);
          current.off("message", onMessage);
          current.off("exit", onExit);
          resolve(answer);
        };
        const onMessage = (message: unknown): void => {
          // The file shares the channel and may send anything.
          if (isEvaluated(message)) settle(message);
        };
        const onExit = (code: number | null): void => {
          if (!isFirst) {
            // It may be an earlier file whose leavings ended the child: this one gets a child to itself.
            child = undefined;
            clearTimeout(timer);
            void evaluator.evaluate(request).then(settle);
            return;
          }
          settle({ ok: false, message: `${what} ended the process that evaluates it (exit code ${code})` });
        };
        const timer = setTimeout(() => {
          settle({ ok: false, message: `${what} was not evaluated within ${TIME_LIMIT_MS / 1000} s` });
          child = undefined;
          current.kill("SIGKILL");
        }, TIME_LIMIT_MS);
        current.on("message", onMessage);
        current.on("exit", onExit);
        // A child that is gone by now is told by its exit.
        current.send(request, () => undefined);
      });
    },
    stop() {
      child?.kill("SIGKILL");
      child = undefined;
    },
  };
  return evaluator;
}
