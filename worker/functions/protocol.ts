import type { FunctionCall } from "#lib/executors/executor.ts";

export type ToFunctionChild = Omit<FunctionCall, "bundle"> & { file: string };

export type FromFunctionChild =
  | { kind: "log"; stream: "stdout" | "stderr"; bytes: Buffer }
  /** `json` is absent when the function returned nothing. */
  | { kind: "returned"; json: string | undefined }
  | { kind: "unstorable"; reason: string; error: string }
  | { kind: "threw"; error: string };
