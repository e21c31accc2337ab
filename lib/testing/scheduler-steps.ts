import { expect } from "vitest";
import { releaseExpired } from "#lib/db/lost-attempts.ts";
import { admit, admitDue } from "#lib/engine/admit.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { finish } from "#lib/engine/finish.ts";
import { LEASE_MS } from "#lib/engine/lease.ts";
import { startAllQueuedRuns } from "#lib/engine/start-all-queued-runs.ts";
import { sweep } from "#lib/engine/sweep.ts";
import { isStartable } from "./backfill-model.ts";
import { BLUR_S } from "./engine-agreement.ts";
import { loses, type Model, nowS, settled } from "./engine-model.ts";
import { step } from "./engine-steps.ts";
import { patrolAdmission } from "./engine.ts";

/** Steps of the model-based test: what schedulers do. */

/** Fewer than in earnest, so that short histories get there. */
const LEASES_LOST_ALLOWANCE = 1;

/** What a sweep does about leases that have run out; the test's server is too young for the guard of that one. */
async function expire(model: Model, deps: EngineDeps): Promise<void> {
  const before = [...model.holdings];
  await releaseLost(deps);
  const { rows } = await deps.pool.query<{ id: string }>(
    "select task_instance_id as id from sluice.live_attempt where state = 'running'",
  );
  const left = new Set(rows.map(({ id }) => id));
  const lost = before.filter(([taskId]) => !left.has(taskId));
  const age = (renewedAtS: number): number => nowS(model) - renewedAtS - LEASE_MS / 1_000;
  for (const [, { renewedAtS }] of lost) expect(age(renewedAtS)).toBeGreaterThan(-BLUR_S);
  for (const [taskId, { renewedAtS }] of before) if (left.has(taskId)) expect(age(renewedAtS)).toBeLessThan(BLUR_S);
  loses(
    model,
    lost.map(([taskId]) => taskId),
    LEASES_LOST_ALLOWANCE,
  );
}

export async function releaseLost(deps: EngineDeps): Promise<void> {
  const { exhausted } = await releaseExpired(deps.pool, 0, LEASES_LOST_ALLOWANCE);
  const given = exhausted.map((one) => ({ ...one, state: "failed" as const, reason: "WORKER_LOST" }));
  if (given.length > 0) await finish(deps, given, "sweep");
  await admit(deps);
}

export const sweeps = step(
  "sweep",
  {},
  () => true,
  async (model, deps) => {
    await expire(model, deps);
    await sweep(deps);
    for (const run of model.runs) settled(run);
  },
);

export const patrol = step(
  "a scheduler's look",
  {},
  () => true,
  async (model, deps) => {
    const begins = nowS(model);
    await patrolAdmission(deps);
    await dueAreReady(model, begins, deps);
    // What is passed over is told why; what is asked to end is not among it.
    const { rows } = await deps.pool.query(
      `select distinct t.workload_id from sluice.task_instance t
        where t.state = 'ready' and not t.held
          and not exists (select from sluice.run_action a where a.run_id = t.run_id)
          and not exists (select from sluice.workload_wait x where x.workload_id = t.workload_id)`,
    );
    expect(rows).toEqual([]);
  },
);

export const due = step(
  "look for what is due",
  {},
  () => true,
  async (model, deps) => {
    const begins = nowS(model);
    await admitDue(deps);
    await dueAreReady(model, begins, deps);
  },
);

/** No retry and no look that was due then is left. */
async function dueAreReady(model: Model, atS: number, deps: EngineDeps): Promise<void> {
  const { rows } = await deps.pool.query<{ id: string }>(
    "select id from sluice.task_instance where state in ('retrying', 'deferred')",
  );
  for (const { id } of rows) expect(model.dueAtS.get(id)).toBeGreaterThan(atS);
}

export const startQueued = step(
  "look for runs to start",
  {},
  () => true,
  async (model, deps) => {
    await startAllQueuedRuns(deps);
    const { rows } = await deps.pool.query<{ id: string }>("select id from sluice.dag_run where state = 'running'");
    const going = new Set(rows.map(({ id }) => id));
    for (const { dag } of model.runs.filter((run) => !run.slice && isStartable(model, run) && !going.has(run.id))) {
      const limit = model.limits.get(dag.spec.id)!.maxActiveRuns;
      const counted = model.runs.filter((run) => run.dag === dag && going.has(run.id) && (limit === 1 || !run.slice));
      expect(counted.length).toBeGreaterThanOrEqual(limit);
    }
  },
);
