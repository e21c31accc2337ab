import { z } from "zod";
import type { FunctionCall } from "#lib/executors/executor.ts";

export type ToFunctionChild = Omit<FunctionCall, "bundle"> & { file: string };

export type FromFunctionChild =
  | { kind: "log"; stream: "stdout" | "stderr"; bytes: Buffer }
  /** `json` is absent when the function returned nothing; what it pushed is JSON texts by key. */
  | { kind: "returned"; json: string | undefined; pushed?: Record<string, string> | undefined }
  | { kind: "deferred"; afterMs: number; reason: string }
  | { kind: "unstorable"; reason: string; error: string }
  | { kind: "threw"; error: string };

const messages = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("log"), stream: z.enum(["stdout", "stderr"]), bytes: z.instanceof(Uint8Array) }),
  z.object({
    kind: z.literal("returned"),
    json: z.string().optional(),
    pushed: z.record(z.string(), z.string()).optional(),
  }),
  z.object({ kind: z.literal("deferred"), afterMs: z.number(), reason: z.string() }),
  z.object({ kind: z.literal("unstorable"), reason: z.string(), error: z.string() }),
  z.object({ kind: z.literal("threw"), error: z.string() }),
]);

/** True for a message of ours: the code that runs in the child shares the channel and may send anything. */
export function isFromFunctionChild(message: unknown): message is FromFunctionChild {
  return messages.safeParse(message).success;
}
