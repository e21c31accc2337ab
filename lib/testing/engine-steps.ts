import { randomUUID } from "node:crypto";
import type fc from "fast-check";
import { expect } from "vitest";
import type { WorkerRef } from "#lib/db/claims.ts";
import { type Continued, type Finish, finishRunning } from "#lib/db/finishes.ts";
import { releaseExpired } from "#lib/db/lost-attempts.ts";
import { renewLeases, setWorkerState } from "#lib/db/workers.ts";
import { admit, admitDue } from "#lib/engine/admit.ts";
import { claim } from "#lib/engine/claim.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { finish } from "#lib/engine/finish.ts";
import { LEASE_MS, LOST_ALLOWANCE } from "#lib/engine/lease.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { startAllQueuedRuns } from "#lib/engine/start-all-queued-runs.ts";
import { handBack, sweep } from "#lib/engine/sweep.ts";
import { agree, BLUR_S, type Queue, QUEUES } from "./engine-agreement.ts";
import { claims, ends, handsBack, heldBy, isHeld, loses, type Model, runOf, settled, stateOf } from "./engine-model.ts";
import { moveClock, registration, patrolAdmission } from "./engine.ts";

/** Steps of the model-based test. Each does something to a real engine and to its model, and then compares the two. */

export type Command = fc.AsyncCommand<Model, EngineDeps>;

/** A step: what the model must be like for it, and what it does to the engine and to the model. */
export function step(
  name: string,
  args: object,
  check: (model: Model) => boolean,
  run: (model: Model, deps: EngineDeps) => Promise<void>,
): Command {
  return {
    check,
    run: async (model, deps) => {
      await run(model, deps);
      await agree(model, deps);
    },
    toString: () => `${name} ${JSON.stringify(args)}`,
  };
}

export const pick = <T>(list: readonly T[], roll: number): T => list[roll % list.length]!;

/** Starts a worker, or starts it again: what its name was running is lost. */
export const startWorker = (id: string, slots: number): Command =>
  step(
    `start worker ${id}`,
    { slots },
    () => true,
    async (model, deps) => {
      const old = model.workers.get(id)?.ref;
      const ref = await join(deps, id, slots);
      model.workers.set(id, { ref, state: "active" });
      if (!old) return;
      model.replaced.push(old);
      const lost = [...model.holdings].filter(([, holding]) => holding.worker.id === id).map(([taskId]) => taskId);
      loses(model, lost, LOST_ALLOWANCE);
    },
  );

export const claimWith = (id: string, queue: Queue, max: number): Command =>
  step(
    `claim with ${id}`,
    { queue, max },
    (model) => model.workers.has(id),
    async (model, deps) => {
      const { ref, state } = model.workers.get(id)!;
      const claimed = await claimFrom(deps, ref, queue, max);
      expect(claimed.length).toBeLessThanOrEqual(state === "active" ? max : 0);
      for (const attempt of claimed) takes(model, ref, attempt);
    },
  );

export function claimFrom(deps: EngineDeps, ref: WorkerRef, queue: Queue, max: number): Promise<Continued[]> {
  const tokens = Array.from({ length: max }, deps.newToken);
  return claim(deps, ref, { queues: [queue], slotClass: "process" }, tokens).then(({ claimed }) => claimed);
}

export function join(deps: EngineDeps, id: string, slots: number): Promise<WorkerRef> {
  return registerWorker(deps, { ...registration(id, slots), queues: QUEUES });
}

function takes(model: Model, ref: WorkerRef, claimed: Continued): void {
  expect(stateOf(model, claimed.taskInstanceId)).toBe("ready");
  expect(model.holdings.has(claimed.taskInstanceId)).toBe(false);
  expect(isHeld(model, runOf(model, claimed.taskInstanceId))).toBe(false);
  const look = model.looking.get(claimed.taskInstanceId);
  const { attemptId, number } = claimed;
  expect(claimed.look !== null).toBe(look !== undefined);
  if (look) expect({ attemptId, number }).toEqual({ attemptId: look.attemptId, number: look.number });
  claims(model, ref, claimed);
}

export const claimAsReplaced = (roll: number): Command =>
  step(
    "claim as a process that was replaced",
    { roll },
    (model) => model.replaced.length > 0,
    async (model, deps) => {
      const ghost = pick(model.replaced, roll);
      for (const queue of QUEUES) expect(await claimFrom(deps, ghost, queue, 5)).toEqual([]);
      expect((await renewLeases(deps.pool, ghost, [], LEASE_MS)).workerState).toBeUndefined();
    },
  );

export const heartbeat = (id: string): Command =>
  step(
    `heartbeat of ${id}`,
    {},
    (model) => model.workers.has(id),
    async (model, deps) => {
      const { ref } = model.workers.get(id)!;
      const mine = heldBy(model, ref).map((taskId) => model.holdings.get(taskId)!);
      // It may ask for what it has lost as well.
      const asked = [...mine.map(({ claimed }) => claimed), ...model.over];
      const { held } = await renewLeases(deps.pool, ref, asked, LEASE_MS);
      expect(held.toSorted()).toEqual(mine.map(({ claimed }) => claimed.token).toSorted());
      for (const holding of mine) holding.renewedAtS = model.clockS;
    },
  );

export const drain = (id: string): Command =>
  step(
    `drain ${id}`,
    {},
    (model) => model.workers.get(id)?.state === "active",
    async (model, deps) => {
      const known = model.workers.get(id)!;
      await setWorkerState(deps.pool, known.ref, "draining");
      known.state = "draining";
    },
  );

export const handBackAll = (id: string): Command =>
  step(
    `hand back what ${id} has`,
    {},
    (model) => model.workers.has(id),
    async (model, deps) => {
      const { ref } = model.workers.get(id)!;
      await handBack(deps, ref);
      handsBack(model, ref);
    },
  );

/** `againS`: after how long one that failed is tried again, if at all, and one that is deferred looks again. */
export type End = { roll: number; isLate: boolean; end: Finish["state"]; againS: number | null };

/** Ends of one batch, of live attempts and of ones that were taken away, also of the same task. */
export const end = (batch: readonly End[], handsOn: boolean): Command =>
  step(
    handsOn ? "end" : "end and die before handing on",
    batch,
    (model) => model.holdings.size > 0 || (model.over.length > 0 && batch.some(({ isLate }) => isLate)),
    async (model, deps) => {
      const live = [...model.holdings.values()];
      const chosen = new Map<string, { claimed: Continued } & End>();
      for (const one of batch) {
        const list = one.isLate || live.length === 0 ? model.over : live.map(({ claimed }) => claimed);
        if (list.length > 0) chosen.set(pick(list, one.roll).token, { claimed: pick(list, one.roll), ...one });
      }
      const wanted = [...chosen.values()].map(({ claimed, end: state, againS }): Finish & { token: string } => {
        const { taskInstanceId, token } = claimed;
        const retryInMs = state === "failed" && againS !== null ? againS * 1_000 : undefined;
        const lookInMs = state === "deferred" ? (againS ?? 1) * 1_000 : undefined;
        const next = handsOn ? undefined : { attemptId: randomUUID(), token: randomUUID() };
        return { taskInstanceId, token, state, reason: "EXIT", retryInMs, lookInMs, next };
      });
      const good = wanted.filter(({ taskInstanceId: id, token }) => model.holdings.get(id)?.claimed.token === token);
      const holders = new Map(good.map(({ taskInstanceId: id }) => [id, model.holdings.get(id)!.worker]));
      const accept = (accepted: readonly string[]): void => {
        expect(accepted.toSorted()).toEqual(good.map(({ taskInstanceId: id }) => id).toSorted());
        ends(
          model,
          good.map(({ taskInstanceId: taskId, state, retryInMs, lookInMs = retryInMs }) => ({
            taskId,
            state: retryInMs === undefined ? state : retryInMs === 0 ? "ready" : "retrying",
            dueAtS: lookInMs === undefined ? undefined : model.clockS + lookInMs / 1_000,
          })),
        );
      };
      if (handsOn) {
        accept(await finish(deps, wanted, "worker:model"));
        // One that goes on or is tried again ends nothing, and so settles nothing that somebody else has left.
        for (const { taskInstanceId: id, retryInMs, lookInMs = retryInMs } of good)
          if (lookInMs === undefined) settled(runOf(model, id));
      } else {
        const finished = await finishRunning(deps.pool, wanted, "worker:model", LEASE_MS);
        accept(finished.accepted);
        for (const [after, child] of finished.continued) {
          const holder = holders.get(after)!;
          expect(model.workers.get(holder.id)).toEqual({ ref: holder, state: "active" });
          takes(model, holder, child);
        }
      }
    },
  );

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
  const age = (renewedAtS: number): number => model.clockS - renewedAtS - LEASE_MS / 1_000;
  for (const [, { renewedAtS }] of lost) expect(age(renewedAtS)).toBeGreaterThan(-BLUR_S);
  for (const [taskId, { renewedAtS }] of before) if (left.has(taskId)) expect(age(renewedAtS)).toBeLessThan(0);
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
    await patrolAdmission(deps);
    await dueAreReady(model, deps);
    // What is passed over is told why.
    const { rows } = await deps.pool.query(
      `select distinct t.workload_id from sluice.task_instance t
        where t.state = 'ready' and not t.held
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
    await admitDue(deps);
    await dueAreReady(model, deps);
  },
);

/** No retry and no look that is due is left. */
async function dueAreReady(model: Model, deps: EngineDeps): Promise<void> {
  const { rows } = await deps.pool.query<{ id: string }>(
    "select id from sluice.task_instance where state in ('retrying', 'deferred')",
  );
  for (const { id } of rows) expect(model.dueAtS.get(id)).toBeGreaterThan(model.clockS);
}

export const startQueued = step(
  "look for runs to start",
  {},
  () => true,
  async (model, deps) => {
    await startAllQueuedRuns(deps);
    const { rows } = await deps.pool.query<{ dag: string; going: number; waiting: number }>(
      `select dag_id as dag, count(*) filter (where state = 'running')::int as going,
              count(*) filter (where state = 'queued' and paused_by is null)::int as waiting
         from sluice.dag_run group by 1`,
    );
    for (const { dag, going, waiting } of rows) {
      const limit = model.limits.get(dag)!.maxActiveRuns;
      if (waiting > 0 && !model.pausedDags.has(dag)) expect(going).toBeGreaterThanOrEqual(limit);
    }
  },
);

export const passTime = (seconds: number): Command =>
  step(
    "the clock moves",
    { seconds },
    () => true,
    (model, deps) => pass(model, deps, seconds),
  );

export async function pass(model: Model, deps: EngineDeps, seconds: number): Promise<void> {
  model.clockS += seconds;
  await moveClock(deps, `${model.clockS} s`);
}
