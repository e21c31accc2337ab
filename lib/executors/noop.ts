import type { Executor } from "./executor.ts";

/** Does nothing, at once: a point that other tasks wait for. */
export const noop: Executor<Record<string, never>> = {
  displayName: "No-op",
  run: () => Promise.resolve({ kind: "success", output: undefined }),
};
