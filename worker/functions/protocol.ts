import type { FunctionCall } from "#lib/executors/executor.ts";

export type ToFunctionChild = Omit<FunctionCall, "bundle"> & { file: string };

export type FromFunctionChild =
  | { kind: "log"; stream: "stdout" | "stderr"; bytes: Buffer }
  /** `json` is absent when the function returned nothing; what it pushed is JSON texts by key. */
  | { kind: "returned"; json: string | undefined; pushed?: Record<string, string> | undefined }
  | { kind: "deferred"; afterMs: number; reason: string }
  | { kind: "unstorable"; reason: string; error: string }
  | { kind: "threw"; error: string };

/** What each kind has to have, and of which type. `undefined` may be absent. By hand: it is asked for each call of a function. */
const FIELDS: Record<FromFunctionChild["kind"], (message: Record<string, unknown>) => boolean> = {
  log: ({ stream, bytes }) => (stream === "stdout" || stream === "stderr") && bytes instanceof Uint8Array,
  returned: ({ json, pushed }) =>
    (json === undefined || typeof json === "string") &&
    (pushed === undefined || (isRecord(pushed) && Object.values(pushed).every((text) => typeof text === "string"))),
  deferred: ({ afterMs, reason }) => typeof afterMs === "number" && typeof reason === "string",
  unstorable: ({ reason, error }) => typeof reason === "string" && typeof error === "string",
  threw: ({ error }) => typeof error === "string",
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** True for a message of ours: the code that runs in the child shares the channel and may send anything. */
export function isFromFunctionChild(message: unknown): message is FromFunctionChild {
  if (!isRecord(message)) return false;
  const { kind } = message;
  return typeof kind === "string" && Object.hasOwn(FIELDS, kind) && FIELDS[kind as FromFunctionChild["kind"]](message);
}
