import type { z } from "zod";
import type { HttpConfig } from "#lib/domain/model/task-types.ts";
import type { Executor } from "./executor.ts";

/** An HTTP request from inside the worker. */
export const http: Executor<z.output<typeof HttpConfig>> = {
  displayName: "HTTP",
  run: () => Promise.resolve({ kind: "failed", reason: "HTTP", error: "in the making" }),
};
