import type { WorkerRef } from "#lib/db/claims.ts";
import { isAnythingLeft } from "#lib/db/left-work.ts";
import {
  expiredAttempts,
  extendLeases,
  letSuspectsGo,
  releaseDrained,
  type Released,
  releaseExpired,
  releasePredecessors,
  releaseStopped,
  releaseUnbegun,
  releaseUnheard,
} from "#lib/db/lost-attempts.ts";
import { unsettledRuns } from "#lib/db/run-states.ts";
import { inTx, isLostRace, retried } from "#lib/db/tx.ts";
import { unadmitAbandoned, unadmitActing } from "#lib/db/unadmit.ts";
import type { EngineDeps } from "./deps.ts";
import { effects } from "./effects.ts";
import { finish } from "./finish.ts";
import { followUp } from "./follow-up.ts";
import { LEASE_MS, LOST_ALLOWANCE } from "./lease.ts";
import { isolating, isolatingEach } from "./quarantine.ts";
import { settleRun } from "./settle-run.ts";

const SETTLE_BATCH = 100;

/** Each waits for a lock as long as `lock_timeout` lets it, two seconds: about a minute in all. */
const GIVE_BACK_TRIES = 30;

/**
 * Repairs what processes that died have left, where there is anything. A look that fails keeps no
 * part from being done; the first error is thrown.
 */
export async function sweep(deps: EngineDeps): Promise<void> {
  const errors: unknown[] = [];
  const mayFind = await isAnythingLeft(deps.pool, LEASE_MS).catch((error: unknown) => errors.push(error) > 0);
  if (mayFind) await sweepAll(deps).catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw errors[0];
}

/**
 * Expired leases, suspect tasks that wait apart, attempts for workers that have gone, unsettled runs. A part that fails keeps no
 * other from being done; the first error is thrown.
 */
export async function sweepAll(deps: EngineDeps): Promise<void> {
  const errors: unknown[] = [];
  for (const part of [takeBackLost, letGo, takeBackQueued, settleAll])
    await part(deps).catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw errors[0];
}

async function takeBackLost(deps: EngineDeps): Promise<void> {
  await takeBackExpired(deps, LEASE_MS);
  await takeBack(deps, await retried(() => releaseStopped(deps.pool)));
}

/** A suspect task waits until few of them run, and then for a worker that runs none. */
async function letGo(deps: EngineDeps): Promise<void> {
  const changedRuns = await retried(() => letSuspectsGo(deps.pool));
  await followUp(deps, effects({ changedRuns, wantsAdmission: changedRuns.length > 0 }));
}

async function takeBackQueued(deps: EngineDeps): Promise<void> {
  const abandoned = await retried(() => unadmitAbandoned(deps.pool));
  const acting = await retried(() => unadmitActing(deps.pool));
  await followUp(deps, effects({ changedRuns: [...abandoned, ...acting], wantsAdmission: acting.length > 0 }));
}

async function settleAll(deps: EngineDeps): Promise<void> {
  const unsettled = await unsettledRuns(deps.pool, SETTLE_BATCH);
  await isolatingEach(
    deps,
    "settle",
    unsettled,
    (runId) => runId,
    (runId) => settleSome(deps, runId),
  );
}

/** So many slices of a run in one pass: a large one must not keep the others waiting, nor what expires. */
const SETTLE_SLICES = 4;

async function settleSome(deps: EngineDeps, runId: string): Promise<void> {
  for (let slices = 0, isOpen = true; isOpen && slices < SETTLE_SLICES; slices++) {
    const { unsettledRuns: open, ...effects } = await settleRun(deps, runId, { waits: false });
    await followUp(deps, { ...effects, unsettledRuns: [] });
    isOpen = open.length > 0;
  }
}

/**
 * What runs under an expired lease starts again; nothing while Postgres is younger than a lease of
 * `leaseMs`. A batch is one statement, and when that fails its parts are, so that an attempt that
 * cannot be taken back keeps no other from it. One pass takes back all, however many workers were
 * lost at once; what another process has locked is left to the next pass.
 */
export async function takeBackExpired(deps: EngineDeps, leaseMs: number): Promise<void> {
  const release = async (ids: readonly string[]): Promise<readonly string[]> => {
    // In a transaction, whose failure is heard when its locks are gone: the parts skip what is locked.
    const released = await inTx(deps.pool, (tx) => releaseExpired(tx, leaseMs, LOST_ALLOWANCE, ids));
    await takeBack(deps, released);
    return [...released.taskInstanceIds, ...released.exhausted.map(({ taskInstanceId }) => taskInstanceId)];
  };
  for (let after: string | undefined = "0"; after !== undefined;) {
    const expired = await expiredAttempts(deps.pool, leaseMs, after);
    await isolating(deps, "sweep", expired, (id) => id, release);
    after = expired.at(-1);
  }
}

/**
 * What earlier processes under this worker's name left running starts again at once, without
 * waiting for a lease.
 */
export async function takeOverFromPredecessors(deps: EngineDeps, worker: WorkerRef): Promise<void> {
  await takeBackAll(deps, () => releasePredecessors(deps.pool, worker, LOST_ALLOWANCE));
}

/**
 * A stopping worker's attempts go to others at once and without using up anything. Its processes
 * must be dead.
 */
export async function handBack(deps: EngineDeps, worker: WorkerRef): Promise<void> {
  const extend = () => extendLeases(deps.pool, worker, null, LEASE_MS);
  await takeBackAll(deps, () => releaseDrained(deps.pool, worker), extend);
}

/** Attempts claimed under these tokens by calls whose answer never came: nobody runs them. */
export async function handBackUnheard(deps: EngineDeps, worker: WorkerRef, tokens: readonly string[]): Promise<void> {
  const extend = () => extendLeases(deps.pool, worker, tokens, LEASE_MS);
  await takeBackAll(deps, () => releaseUnheard(deps.pool, worker, tokens), extend);
}

/** Attempts that this worker claimed ahead of a slot and does not begin after all. */
export async function handBackUnbegun(deps: EngineDeps, worker: WorkerRef, tokens: readonly string[]): Promise<void> {
  const extend = () => extendLeases(deps.pool, worker, tokens, LEASE_MS);
  await takeBackAll(deps, () => releaseUnbegun(deps.pool, worker, tokens), extend);
}

/**
 * One release is a batch; this repeats it until nothing is left. It waits for what others hold, and
 * after each wait that was in vain it extends the leases, so that none runs out and counts as a
 * worker lost.
 */
async function takeBackAll(
  deps: EngineDeps,
  release: () => Promise<Released>,
  extend: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  for (let lost = 0; ;) {
    try {
      const released = await release();
      await takeBack(deps, released);
      if (released.found === 0) return;
    } catch (error) {
      if (!isLostRace(error) || ++lost === GIVE_BACK_TRIES) throw error;
      await extend();
    }
  }
}

async function takeBack(deps: EngineDeps, released: Released): Promise<void> {
  if (released.exhausted.length > 0) {
    const ends = released.exhausted.map((attempt) => ({
      ...attempt,
      state: "failed" as const,
      reason: "WORKER_LOST",
      error: `the worker was lost ${LOST_ALLOWANCE + 1} times while running this task`,
    }));
    await finish(deps, ends, "sweep");
  }
  await followUp(deps, effects({ changedRuns: released.runs, wantsAdmission: released.runs.length > 0 }));
  if (released.isAnyApart) await letGo(deps);
}
