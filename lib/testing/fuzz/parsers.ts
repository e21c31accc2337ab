import { BadFrame, createFrameReader, type FrameLimits } from "#worker/frames/frames.ts";
import { END, endOfCall, FROM_CHILD, STDERR, STDOUT } from "#worker/functions/protocol.ts";
import { answerIn, ANSWER, ANSWERS } from "#worker/loader/protocol.ts";
import { decodeFromSpawner, FROM_SPAWNER } from "#worker/spawner/protocol.ts";
import { messageOf } from "../../domain/errors.ts";
import { DagSpec } from "../../domain/model/dag.ts";
import { functionPiece } from "./functions.ts";
import { answerLike } from "./loader.ts";
import type { Random } from "./random.ts";
import { spawnerFrame } from "./spawner.ts";
import type { Started, Target } from "./target.ts";

/** What the three channels make of bytes, without the processes: thousands of cases in the time of one with them. */
const CHANNELS: readonly {
  limits: FrameLimits;
  piece: (random: Random) => Buffer;
  /** What is wrong with what comes of a frame that is taken. Throws where the frame is refused. */
  wrong: (letter: string, payload: Buffer) => string | undefined;
}[] = [
  {
    limits: FROM_CHILD,
    piece: functionPiece,
    wrong(letter, payload) {
      if (letter === STDOUT || letter === STDERR) return undefined;
      return letter === END && typeof endOfCall(payload).kind === "string" ? undefined : "it has no kind";
    },
  },
  {
    limits: ANSWERS,
    piece: answerLike,
    wrong(letter, payload) {
      const answer = answerIn(payload);
      if (letter !== ANSWER || !("ok" in answer) || !answer.ok || answer.spec === undefined) return undefined;
      return DagSpec.safeParse(answer.spec).success ? undefined : "it takes what is no DAG";
    },
  },
  {
    limits: FROM_SPAWNER,
    piece: spawnerFrame,
    wrong: (letter, payload) => void decodeFromSpawner({ letter, id: 1, payload }),
  },
];

/** Each case so often, since one is done in no time. */
const PIECES = 200;

function faultsOf(random: Random): string[] {
  const { limits, piece, wrong } = random.pick(CHANNELS);
  const faults: string[] = [];
  let kept = 0;
  const take = createFrameReader(limits, ({ letter, payload }) => {
    if (payload.length > limits[letter]!) faults.push(`a frame ${letter} has ${payload.length} bytes`);
    const refused = thrownBy(() => {
      const fault = wrong(letter, payload);
      if (fault !== undefined) faults.push(fault);
    });
    // A stack that overflows or memory that is not there is nothing that a refusal may be.
    if (refused instanceof RangeError && refused.message.includes("call stack")) faults.push(refused.message);
    kept++;
  });
  const bytes = piece(random);
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + random.upTo(bytes.length);
    const refused = thrownBy(() => take(bytes.subarray(at, end)));
    if (refused instanceof BadFrame) break;
    if (refused !== undefined) faults.push(`the reader threw ${messageOf(refused)}`);
    at = end;
  }
  return kept > bytes.length ? [...faults, "more frames than bytes"] : faults;
}

function thrownBy(work: () => void): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error;
  }
}

const started: Started = {
  async one(random) {
    for (let n = 0; n < PIECES; n++) {
      const faults = faultsOf(random);
      if (faults.length > 0) return faults;
    }
    return Object.hasOwn(Object.prototype, "a") ? ["every object has got a property"] : [];
  },
  stop: async () => [],
};

export const parsers: Target = { name: "parsers", start: async () => started };
