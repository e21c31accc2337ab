import { fileURLToPath } from "node:url";
import { afterRunning } from "../after-running.ts";
import { type Guest, type GuestEnd, startGuest } from "../frames/guest.ts";
import { NO_PLACES, type PluginPlaces } from "../plugins/places.ts";
import { ANSWERS, answerIn, type Evaluated, type EvaluateRequest, REQUEST } from "./protocol.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

/** A definition is data with a few imports; one that takes longer waits for something it should not. */
const TIME_LIMIT_MS = 10_000;

export type Evaluator = { evaluate(request: EvaluateRequest): Promise<Evaluated>; stop(): void };

type Child = {
  guest: Guest;
  /** Requests that it was given; the last one's number. */
  asked: number;
  /** Who waits for its answer, or for why there is none. */
  waiting: ((answer: Evaluated | GuestEnd | "late") => void) | undefined;
};

/**
 * Evaluates one file at a time in a child with a clean environment. Modules are cached for the life of the child,
 * so a pass over changed files takes a new evaluator. A file that hangs, ends the child or writes into its pipe costs only itself.
 */
export function createEvaluator(
  dagsDir: string,
  env: Record<string, string>,
  plugins: PluginPlaces = NO_PLACES,
): Evaluator {
  let child: Child | undefined;

  const launch = (): Child => {
    const one: Child = { guest: undefined as never, asked: 0, waiting: undefined };
    one.guest = startGuest({
      module: CHILD,
      args: [dagsDir, JSON.stringify(plugins)],
      cwd: dagsDir,
      env,
      limits: ANSWERS,
      take({ id, payload }) {
        if (id !== one.asked || one.waiting === undefined) throw new Error("it answers what it was not asked");
        one.waiting(answerIn(payload));
      },
      leadsGroup: false,
      over(end) {
        // A file may leave something behind that ends the child between two requests.
        if (child === one) child = undefined;
        one.waiting?.(end);
      },
    });
    return one;
  };

  const stop = (one: Child | undefined): void => {
    if (child === one) child = undefined;
    one?.guest.kill();
  };

  const ask = (one: Child, request: EvaluateRequest): Promise<Evaluated | GuestEnd | "late"> =>
    new Promise((resolve) => {
      const id = ++one.asked;
      one.waiting = (answer) => {
        one.waiting = undefined;
        onTime();
        resolve(answer);
      };
      const onTime = afterRunning(TIME_LIMIT_MS, () => {
        one.waiting?.("late");
        stop(one);
      });
      one.guest.send(REQUEST, id, Buffer.from(JSON.stringify(request)));
    });

  return {
    async evaluate(request) {
      const what = request.kind === "plugin" ? "the plugin" : "the file";
      for (;;) {
        const current = (child ??= launch());
        const isFirst = current.asked === 0;
        const answer = await ask(current, request);
        if (answer === "late")
          return { ok: false, message: `${what} was not evaluated within ${TIME_LIMIT_MS / 1000} s` };
        if ("ok" in answer) return answer;
        // It may be an earlier file whose leavings ended the child: this one gets a child to itself.
        if (isFirst) return { ok: false, message: `${what} ${TOLD[answer.how](answer.why)}` };
      }
    },
    stop: () => stop(child),
  };
}

const TOLD: Record<GuestEnd["how"], (why: string) => string> = {
  "not started": (why) => `could not be evaluated: ${why}`,
  broken: (why) => `wrote into the pipe of the process that evaluates it: ${why}`,
  ended: (why) => `ended the process that evaluates it (${why})`,
};
