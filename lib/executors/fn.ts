import type { Json } from "#lib/domain/canonical.ts";
import { TASK_TYPES } from "#lib/domain/model/task-types.ts";
import type { BuiltIn } from "./executor.ts";

/** A TypeScript function of the DAG's own code. */
export const fn: BuiltIn<"fn"> = {
  type: "fn",
  ...TASK_TYPES.fn,
  async run(context, config) {
    const { attempt } = context;
    if (attempt.bundle === undefined) {
      return { kind: "failed", reason: "NO_CODE", error: "this DAG version holds no code for its functions" };
    }
    const { logicalDate, intervalStart, intervalEnd } = attempt;
    const { outputs, xcoms } = await context.inputs();
    const result = await context.call({
      bundle: attempt.bundle,
      module: config.module,
      export: config.export,
      argument: {
        outputs,
        xcoms,
        conf: attempt.conf as Json,
        params: attempt.params as Json,
        env: context.env,
        run: { id: attempt.runId, dagId: attempt.dagId, logicalDate, intervalStart, intervalEnd },
        attemptId: attempt.attemptId,
      },
    });
    if (result.ok === "not yet") return { kind: "deferred", afterMs: result.afterMs, reason: result.reason };
    if (!result.ok) return { kind: "failed", reason: result.reason ?? "EXCEPTION", error: result.error };
    return { kind: "success", output: result.value, pushed: result.pushed };
  },
};
