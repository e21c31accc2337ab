import type { FunctionCall } from "#lib/executors/executor.ts";

export type ToFunctionChild = Omit<FunctionCall, "bundle"> & { file: string };

export type FromFunctionChild =
  | { kind: "log"; stream: "stdout" | "stderr"; bytes: Buffer }
  /** `json` is absent when the function returned nothing. */
  | { kind: "returned"; json: string | undefined }
  | { kind: "unstorable"; reason: string; error: string }
  | { kind: "threw"; error: string };

/** True for a message of ours: the code that runs in the child shares the channel and may send anything. */
export function isFromFunctionChild(message: unknown): message is FromFunctionChild {
  if (typeof message !== "object" || message === null || !("kind" in message)) return false;
  switch (message.kind) {
    case "log":
      return "bytes" in message && message.bytes instanceof Uint8Array && "stream" in message;
    case "returned":
      return "json" in message && (message.json === undefined || typeof message.json === "string");
    case "threw":
    case "unstorable":
      return "error" in message && typeof message.error === "string";
    default:
      return false;
  }
}
