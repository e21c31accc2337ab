import { lockBackfill, writeBackfillState } from "#lib/db/backfill/state.ts";
import { holdRunsOf, markDagPaused, markRunPaused } from "#lib/db/pauses.ts";
import { findActionKind, isHold } from "#lib/db/run-actions.ts";
import { inTx } from "#lib/db/tx.ts";
import { carryOutSlice } from "#lib/engine/carry-out-actions.ts";
import { followUp } from "#lib/engine/follow-up.ts";
import { isOpen } from "./backfill-model.ts";
import type { ModelDag } from "./engine-model.ts";
import { catchUp, type Command, pick, step } from "./engine-steps.ts";

/** Steps of the model-based test: pauses and resumes of whoever dies right after the commit, and the slices that are left then. */

export const pauses = {
  /** Of a run that is as it is wished to be as well. */
  ofRun: (roll: number, isPaused: boolean): Command =>
    step(
      isPaused ? "ask for a pause" : "ask for a resume",
      { roll },
      (model) => model.runs.some(isOpen),
      async (model, deps) => {
        const run = pick(model.runs.filter(isOpen), roll);
        await catchUp(model, deps);
        await inTx(deps.pool, (tx) => markRunPaused(tx, run.id, isPaused ? "anna" : null));
        run.isPaused = isPaused;
      },
    ),
  ofDag: (dag: ModelDag, isPaused: boolean): Command =>
    step(
      `ask for a ${isPaused ? "pause" : "resume"} of ${dag.spec.id}`,
      {},
      () => true,
      async (model, deps) => {
        await catchUp(model, deps);
        await inTx(deps.pool, (tx) => markDagPaused(tx, dag.spec.id, isPaused ? "anna" : null));
        if (isPaused) model.pausedDags.add(dag.spec.id);
        else model.pausedDags.delete(dag.spec.id);
      },
    ),
  ofBackfill: (roll: number, isPaused: boolean): Command => {
    const [from, to] = isPaused ? (["running", "paused"] as const) : (["paused", "running"] as const);
    return step(
      `ask for a ${isPaused ? "pause" : "resume"} of a backfill`,
      { roll },
      (model) => model.backfills.some(({ state }) => state === from),
      async (model, deps) => {
        const backfill = pick(
          model.backfills.filter(({ state }) => state === from),
          roll,
        );
        await catchUp(model, deps);
        await inTx(deps.pool, async (tx) => {
          await writeBackfillState(tx, (await lockBackfill(tx, backfill.id))!, to, "anna", null);
          await holdRunsOf(tx, "backfill", backfill.id, "anna");
        });
        backfill.state = to;
      },
    );
  },
  slice: (roll: number, most: number): Command =>
    step(
      "hold some tasks, or let them go",
      { roll, most },
      (model) => model.runs.some(isOpen),
      async (model, deps) => {
        const { id } = pick(model.runs.filter(isOpen), roll);
        const action = await findActionKind(deps.pool, id);
        if (action === undefined || !isHold(action.kind)) return;
        await followUp(deps, (await carryOutSlice(deps, id, { most })).effects);
      },
    ),
};
