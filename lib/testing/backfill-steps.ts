import { expect } from "vitest";
import { askRunsToEnd } from "#lib/db/backfill/cancel.ts";
import { lockBackfill, writeBackfillState } from "#lib/db/backfill/state.ts";
import { inTx } from "#lib/db/tx.ts";
import type { Order, Reprocess } from "#lib/domain/backfill/plan.ts";
import { isFinalBackfillState, isFinalRunState } from "#lib/domain/states.ts";
import { cancelBackfill } from "#lib/engine/backfill/cancel.ts";
import { createBackfill } from "#lib/engine/backfill/create.ts";
import { pauseBackfill, resumeBackfill } from "#lib/engine/backfill/pause.ts";
import { retryBackfill } from "#lib/engine/backfill/retry.ts";
import { tendBackfills } from "#lib/engine/backfill/tend.ts";
import { carryOutActions } from "#lib/engine/carry-out-actions.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import {
  asksToEnd,
  carriesOut,
  endsUnbegun,
  isStartable,
  latestOf,
  runsOfBackfill,
  tends,
  unlucky,
} from "./backfill-model.ts";
import { january, runsOf } from "./backfills.ts";
import { type Model, type ModelBackfill, type ModelDag, newRun } from "./engine-model.ts";
import { catchUp, type Command, pick, step } from "./engine-steps.ts";

/** Steps of the model-based test: backfills, by people and by schedulers. */

/** So that a history stays one that can be read, and played quickly. */
const MAX_RUNS = 16;

export type Dates = { first: number; days: number };

export const create = (
  dag: ModelDag,
  { first, days }: Dates,
  how: { maxActive: number; order: Order; reprocess: Reprocess },
): Command =>
  step(
    `backfill ${dag.spec.id}`,
    { first, days, ...how },
    (model) => model.runs.length + days <= MAX_RUNS,
    async (model, deps) => {
      const dates = Array.from({ length: days }, (_, nth) => `01-0${first + nth}`);
      const ofDag = model.runs.filter((run) => run.dag === dag);
      const wanted = dates.filter((day) => {
        const latest = latestOf(ofDag, day);
        if (latest === undefined) return true;
        if (!isFinalRunState(latest) || how.reprocess === "missing") return false;
        return how.reprocess === "all" || latest !== "success";
      });
      const [start, end] = [`2024-${dates[0]!}`, `2024-${dates.at(-1)!}`];
      const created = await createBackfill(deps, january(dag.spec.id, { start, end, ...how }));
      expect(created.kind).toBe(wanted.length > 0 ? "created" : "nothing");
      if (created.kind !== "created") return;
      const backfill: ModelBackfill = { id: created.backfillId, dag, order: how.order, state: "running" };
      model.backfills.push(backfill);
      await adds(model, deps, backfill, how.order === "asc" ? wanted : wanted.toReversed());
    },
  );

/** The runs that were made are one of each of these dates, and no other. */
async function adds(model: Model, deps: EngineDeps, backfill: ModelBackfill, days: readonly string[]): Promise<void> {
  const known = new Set(model.runs.map(({ id }) => id));
  const made = (await runsOf(deps, backfill.id)).filter(({ id }) => !known.has(id));
  expect(made.map(({ day }) => day)).toEqual(days);
  for (const { id, day } of made) model.runs.push(newRun(id, backfill.dag, { backfill, day }));
}

const onBackfill = (
  name: string,
  roll: number,
  act: (model: Model, backfill: ModelBackfill, deps: EngineDeps) => Promise<void>,
): Command =>
  step(
    `${name} a backfill`,
    { roll },
    (model) => model.backfills.length > 0,
    (model, deps) => act(model, pick(model.backfills, roll), deps),
  );

export const backfills = {
  cancel: (roll: number) =>
    onBackfill("cancel", roll, async (model, backfill, deps) => {
      const hasEnded = isFinalBackfillState(backfill.state);
      expect(await cancelBackfill(deps, backfill.id, "anna")).toBe(!hasEnded);
      // What a slow machine has left.
      await carryOutActions(deps);
      if (!hasEnded) {
        asksToEnd(model, backfill);
        endsUnbegun(model, backfill);
      }
      carriesOut(model);
    }),
  /** Whoever cancels dies after the commit. */
  askToEnd: (roll: number) =>
    onBackfill("ask for the end of", roll, async (model, backfill, deps) => {
      if (isFinalBackfillState(backfill.state)) return;
      await inTx(deps.pool, async (tx) => {
        const locked = (await lockBackfill(tx, backfill.id))!;
        if (locked.state !== "cancelling") await writeBackfillState(tx, locked, "cancelling", "anna", null);
        await askRunsToEnd(tx, backfill.id, "anna");
      });
      asksToEnd(model, backfill);
    }),
  pause: (roll: number) =>
    onBackfill("pause", roll, async (model, backfill, deps) => {
      if (backfill.state === "running") backfill.state = "paused";
      await catchUp(model, deps);
      expect(await pauseBackfill(deps, backfill.id, "anna")).toBe(backfill.state);
    }),
  resume: (roll: number) =>
    onBackfill("go on with", roll, async (_, backfill, deps) => {
      if (backfill.state === "paused") backfill.state = "running";
      expect(await resumeBackfill(deps, backfill.id, "anna")).toBe(backfill.state);
    }),
  retry: (roll: number) =>
    onBackfill("retry", roll, async (model, backfill, deps) => {
      const days = unlucky(model, backfill);
      if (model.runs.length + days.length > MAX_RUNS) return;
      if (backfill.state === "cancelling") {
        await expect(retryBackfill(deps, backfill.id, "anna")).rejects.toThrow("is being cancelled");
        return;
      }
      expect(await retryBackfill(deps, backfill.id, "anna")).toBe(days.length);
      if (days.length > 0 && backfill.state !== "paused") backfill.state = "running";
      await adds(model, deps, backfill, days);
    }),
  tend: step(
    "look after backfills",
    {},
    (model) => model.backfills.length > 0,
    async (model, deps) => {
      await tendBackfills(deps);
      tends(model);
      await nothingWaits(model, deps);
    },
  ),
  carryOut: step(
    "carry out actions",
    {},
    () => true,
    async (model, deps) => {
      await carryOutActions(deps);
      carriesOut(model);
    },
  ),
};

/** What may start has started, and what may end has ended. */
async function nothingWaits(model: Model, { pool }: EngineDeps): Promise<void> {
  type Row = { id: string; maxActive: number; going: number; waiting: string[]; isOver: boolean };
  const { rows } = await pool.query<Row>(
    `select b.id, b.max_active as "maxActive", b.ended_at is not null as "isOver",
            count(*) filter (where r.state = 'running')::int as going,
            coalesce(array_agg(r.id::text) filter (where r.state = 'queued'), '{}') as waiting
       from sluice.backfill b join sluice.dag_run r on r.backfill_id = b.id group by b.id`,
  );
  for (const { id, maxActive, going, waiting, isOver } of rows) {
    expect(isOver).toBe(going + waiting.length === 0);
    const backfill = model.backfills.find((one) => one.id === id)!;
    const isAlone = model.limits.get(backfill.dag.spec.id)!.maxActiveRuns === 1;
    // The model does not know yet which runs this step has started.
    const startable = runsOfBackfill(model, backfill).filter(
      (run) => waiting.includes(run.id) && isStartable(model, run),
    );
    if (!isAlone) expect(going).toBeGreaterThanOrEqual(Math.min(maxActive, going + startable.length));
  }
}
