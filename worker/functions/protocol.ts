import { type JsonLimits, parseCounted } from "../frames/counted-json.ts";
import type { FrameLimits } from "../frames/frames.ts";
import type { FunctionCall } from "#lib/executors/executor.ts";
import { MAX_LEFT_BYTES } from "#lib/domain/xcom.ts";

/**
 * What a worker and a warm child that calls functions say to each other. The id of a frame is the number of the call that it is
 * about: what a function does after its end is no part of the next call.
 */
export type ToFunctionChild = Omit<FunctionCall, "bundle"> & { file: string };

/** How a call ended. */
export type FromFunctionChild =
  /** `output` is absent when the function returned nothing. */
  | { kind: "returned"; output?: unknown; pushed: Record<string, unknown> }
  | { kind: "deferred"; afterMs: number; reason: string }
  | { kind: "unstorable"; reason: string; error: string }
  | { kind: "threw"; error: string };

/** To the child: a call, and that it is to end. */
export const CALL = "C";
export const ABORT = "A";
/** From the child: a piece of output, and the end of the call. */
export const STDOUT = "O";
export const STDERR = "E";
export const END = "R";

/** A longer piece of output is several frames, and a longer text of an error is cut. */
export const PIECE_BYTES = 64 * 1024;
/** Names and commas around what a task may leave. */
const AROUND_BYTES = 64 * 1024;

export const FROM_CHILD: FrameLimits = {
  [STDOUT]: PIECE_BYTES,
  [STDERR]: PIECE_BYTES,
  [END]: MAX_LEFT_BYTES + AROUND_BYTES,
};

/** A list of a MiB has no more elements; a parser takes seconds for an object of a million members. */
export const RESULT_LIMITS: JsonLimits = { members: 100_000, elements: 600_000, all: 9_000_000 };

/** A worker is believed, and has counted what it sends. */
export const TO_CHILD: FrameLimits = { [CALL]: 2 ** 31, [ABORT]: 0 };

/** Words that retry policies name. */
const UNSTORABLE: ReadonlySet<unknown> = new Set(["RESULT_TOO_LARGE", "RESULT_UNSTORABLE"]);

/** What each kind has to have, and of which type. By hand: it is asked for each call of a function. */
const FIELDS: Record<FromFunctionChild["kind"], (message: Record<string, unknown>) => boolean> = {
  returned: ({ pushed }) => isRecord(pushed),
  deferred: ({ afterMs, reason }) => typeof afterMs === "number" && typeof reason === "string",
  unstorable: ({ reason, error }) => UNSTORABLE.has(reason) && typeof error === "string",
  threw: ({ error }) => typeof error === "string",
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function isFromFunctionChild(message: unknown): message is FromFunctionChild {
  if (!isRecord(message)) return false;
  const { kind } = message;
  return typeof kind === "string" && Object.hasOwn(FIELDS, kind) && FIELDS[kind as FromFunctionChild["kind"]](message);
}

/** The end of a call, from the payload of its frame. Throws when it is none: the code that runs in the child shares the pipe. */
export function endOfCall(payload: Buffer): FromFunctionChild {
  const message = parseCounted(payload, RESULT_LIMITS);
  if (!isFromFunctionChild(message)) throw new Error("it says how a call ended in a way that is none");
  return message;
}
