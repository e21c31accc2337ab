import { TASK_TYPES } from "#lib/domain/model/task-types.ts";
import type { BuiltIn } from "./executor.ts";

/** Does nothing, at once: a point that other tasks wait for. */
export const noop: BuiltIn<"noop"> = {
  type: "noop",
  ...TASK_TYPES.noop,
  run: () => Promise.resolve({ kind: "success", output: undefined }),
};
