import { isUnsettled } from "#lib/db/run-states.ts";
import type { EngineDeps } from "./deps.ts";
import { type Effects, NO_EFFECTS } from "./effects.ts";
import { rewriteRun } from "./rewrite-run.ts";

/** Decides the tasks that wait for one that ended other than well, through any depth, and the run's end with them. */
export async function settleRun(deps: EngineDeps, runId: string): Promise<Effects> {
  const by = { actor: "settle", reason: null, mayRevive: false };
  const { effects } = await rewriteRun(deps, runId, by, async ({ run, states }, tx) =>
    run.state === "running" && (await isUnsettled(tx, runId)) ? { states } : undefined,
  );
  return effects ?? NO_EFFECTS;
}
