import { fileURLToPath } from "node:url";
import type { GuestEnd, GuestPlace } from "../guests/guest.ts";
import { NO_PLACES, type PluginPlaces } from "../plugins/places.ts";
import { type Asked, type AskedGuest, createAskedGuest, TIME_LIMIT_MS } from "./asked-guest.ts";
import { CHECK, checkedAnswer, type Evaluated, type EvaluateRequest, REQUEST } from "./protocol.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

/** Files that a scheduler evaluates at once; each costs up to two processes of Node. */
export const EVALUATORS = 2;

export type Evaluator = { evaluate(request: EvaluateRequest): Promise<Evaluated>; stop(): void };

type EvaluatorOptions = {
  dagsDir: string;
  env: Record<string, string>;
  plugins?: PluginPlaces;
  place: GuestPlace;
};

/** Whoever edits a file looks at what comes of it, and edits it again. */
const READER_IDLE_MS = 10_000;

/** Reads for one evaluator after the other, and is there while there is something to read. */
export function createReader(options: EvaluatorOptions): AskedGuest {
  return createAskedGuest(childOf(options), READER_IDLE_MS);
}

function childOf({
  dagsDir,
  env,
  plugins = NO_PLACES,
  place,
}: EvaluatorOptions): Parameters<typeof createAskedGuest>[0] {
  return { module: CHILD, args: [dagsDir, JSON.stringify(plugins)], cwd: dagsDir, env, place };
}

/**
 * Evaluates one file at a time, in guests with a clean environment. One of them runs the code of files: modules are cached for its
 * life, so a pass over changed files takes a new evaluator. The other runs no code but ours: it reads files that are data, and checks
 * what the first one says. Whatever a file takes of time or memory, it takes there. A file that hangs, ends its guest or writes into
 * its pipe costs only itself. `given` is a reader that others use after this evaluator.
 */
export function createEvaluator(options: EvaluatorOptions, given?: AskedGuest): Evaluator {
  const code = createAskedGuest(childOf(options));
  const reader = given ?? createReader(options);

  const read = async (what: string, letter: string, payload: Buffer): Promise<Evaluated | { broken: string }> => {
    const answer = await reader.ask(letter, payload);
    return Buffer.isBuffer(answer) ? checkedAnswer(answer) : { ok: false, message: `${what} ${untold(answer)}` };
  };

  return {
    async evaluate(request) {
      const what = request.kind === "plugin" ? "the plugin" : "the file";
      const payload = Buffer.from(JSON.stringify(request));
      const said = request.kind === "data" ? undefined : await code.ask(REQUEST, payload);
      if (said !== undefined && !Buffer.isBuffer(said)) return { ok: false, message: `${what} ${untold(said)}` };
      const answer =
        said === undefined ? await read(what, REQUEST, payload) : await read(`what ${what} says`, CHECK, said);
      if ("ok" in answer) return answer;
      code.stop();
      return { ok: false, message: `${what} ${TOLD.broken(answer.broken)}` };
    },
    stop() {
      code.stop();
      if (given === undefined) reader.stop();
    },
  };
}

function untold(answer: Exclude<Asked, Buffer>): string {
  if (answer === "late") return `was not evaluated within ${TIME_LIMIT_MS / 1000} s`;
  return TOLD[answer.how](answer.why);
}

const TOLD: Record<GuestEnd["how"], (why: string) => string> = {
  "not started": (why) => `could not be evaluated: ${why}`,
  broken: (why) => `wrote into the pipe of the process that evaluates it: ${why}`,
  ended: (why) => `ended the process that evaluates it (${why})`,
};
