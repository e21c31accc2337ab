import { type Capacity, overRunLimits, readCapacity, readWorkers } from "#lib/db/admission-capacity.ts";
import { canBeOvertaken, readReadyClasses, readReadyRuns, waitingClasses } from "#lib/db/admission-classes.ts";
import {
  type AdmissionPlan,
  type Admitted,
  applyAdmission,
  dueTasks,
  readyDue,
  rememberApplied,
} from "#lib/db/admission.ts";
import type { Db } from "#lib/db/pool.ts";
import { endQuarantineOfAdmitted } from "#lib/db/quarantine.ts";
import { forgetOld, type TaskClassCache } from "#lib/db/task-classes.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import { decideAdmission } from "#lib/domain/admission.ts";
import { createLedger } from "#lib/domain/admission-ledger.ts";
import { type Demand, isParticular, type LaneRoom, type ReadyClass } from "#lib/domain/demand.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { laneRooms } from "#lib/domain/lane-rooms.ts";
import { slotKey, type WaitReason } from "#lib/domain/wait-reason.ts";
import { admissionPlan, isEmptyPlan } from "./admission-plan.ts";
import type { EngineDeps } from "./deps.ts";
import { isOfTheData, isolating, quarantine } from "./quarantine.ts";

/** Another scheduler leads admission since the pass began, which has therefore done nothing. */
export class LeadLost extends Error {
  constructor() {
    super("another scheduler leads admission");
  }
}

/**
 * A full pass of admission: hands ready task instances to the workers, as far as every limit has room. It reads and decides without
 * a lock and applies the decision in one call. Calls of one process at the same time share a pass. A failed one is logged, not
 * thrown: a scheduler's regular pass is the net. Only `LeadLost` is thrown, for a caller that leads by a lease of that `term`.
 * Returns how many were admitted.
 */
export async function admit(deps: EngineDeps, term: number | null = null): Promise<number> {
  try {
    return await deps.coalesce("admission", () => passes(deps, "open lanes", term, NOTHING_TO_RENEW));
  } catch (error) {
    if (error instanceof LeadLost) throw error;
    deps.log.warn({ error: messageOf(error) }, "an admission pass failed; a scheduler's next regular one covers it");
    return 0;
  }
}

const NOTHING_TO_RENEW = (): Promise<void> => Promise.resolve();

/** Makes all tasks ready whose time for the next attempt or look has come, and has them admitted. */
export async function admitDue(deps: EngineDeps): Promise<void> {
  if (await readyAllDue(deps, null, NOTHING_TO_RENEW)) await admit(deps);
}

/**
 * A scheduler's regular pass: admits what is due or was left behind, and writes down why the rest waits, that of full lanes
 * included. Throws when it fails: there is no net under this one. `renew` is called now and then, so that the lease of `term` does
 * not end under a long pass.
 */
export async function admitLeft(deps: EngineDeps, term: number | null = null, renew = NOTHING_TO_RENEW): Promise<void> {
  await readyAllDue(deps, term, renew);
  await deps.coalesce("regular admission", () => passes(deps, "all lanes", term, renew));
}

/** In slices, so that no number of tasks is too many for one statement; true when some have become ready. */
async function readyAllDue(deps: EngineDeps, term: number | null, renew: () => Promise<void>): Promise<boolean> {
  let any = false;
  for (let more = true; more;) {
    const { moved, hasMore } = await readySomeDue(deps);
    any ||= moved > 0;
    more = hasMore;
    // What is ready already need not wait for the rest.
    if (more) await admit(deps, term);
    if (more) await renew();
  }
  return any;
}

/** Where one of them cannot be written it is left out for a time, and the others become ready. */
async function readySomeDue(deps: EngineDeps): Promise<{ moved: number; hasMore: boolean }> {
  try {
    return await retried(() => readyDue(deps.pool));
  } catch (error) {
    if (!isOfTheData(error)) throw error;
    let moved = 0;
    await isolating(deps, "due", await dueTasks(deps.pool), String, async (ids) => {
      // In a transaction: what failed has given its locks up before the others are tried.
      moved += (await inTx(deps.pool, (tx) => readyDue(tx, ids))).moved;
    });
    return { moved, hasMore: false };
  }
}

/** A pass over lanes with room reads no class of the others; one over all lanes says why these wait, too. */
type Scope = "open lanes" | "all lanes";

/** Passes of one call: each one that admits may find that there was more of a class than it knew of. */
const MAX_PASSES = 20;

async function passes(
  deps: EngineDeps,
  scope: Scope,
  term: number | null,
  renew: () => Promise<void>,
): Promise<number> {
  let sum = 0;
  for (let n = 0; n < MAX_PASSES; n++) {
    const { plan, hasApart, ...about } = await planAdmission(deps.pool, deps.caches.classes, scope, n, term);
    const isOver = isEmptyPlan(plan) || (await applied(deps, plan, about, (admitted) => (sum += admitted)));
    if (hasApart && scope === "all lanes") await endQuarantineOfAdmitted(deps.pool);
    if (isOver) break;
    await renew();
  }
  return sum;
}

/** Applies a plan and does what follows from it; false when another pass is wanted. */
async function applied(
  deps: EngineDeps,
  plan: AdmissionPlan,
  { again, isFromMemory }: { again: boolean; isFromMemory: boolean },
  count: (admitted: number) => void,
): Promise<boolean> {
  const { attempts, granted, at, failed, unsaid, isFenced } = await retried(() => applyAdmission(deps.pool, plan));
  if (isFenced) throw new LeadLost();
  rememberApplied(deps.caches.classes, plan, at);
  count(attempts.length);
  announceAdmitted(deps, attempts);
  for (const { key, error } of failed) await quarantine(deps, "admit", key, new Error(error));
  for (const { key, error } of unsaid) await quarantine(deps, "waits", key, new Error(error));
  const wasRefused = attempts.length < granted || (plan.grants.length > 0 && granted === 0);
  // What ended between the reading and this commit did not know that anything waits for it, and asked for no pass.
  const isFirstToSay = plan.contended.length > 0;
  // What was remembered to be ready is not: others wait for the room that was meant for it.
  const wasForgotten = isFromMemory && granted < plan.grants.reduce((sum, { at: places }) => sum + places.length, 0);
  if (isFirstToSay || failed.length > 0 || wasForgotten) return false;
  return attempts.length === 0 || !(again || wasRefused);
}

/** Tells workers of what they may claim, and pages of the runs, after the commit. */
function announceAdmitted({ notifier }: EngineDeps, attempts: readonly Admitted[]): void {
  notifier.announce(
    "sluice_tasks",
    attempts.map(({ lane }) => lane),
  );
  notifier.announce(
    "sluice_runs",
    attempts.map(({ runId }) => runId),
  );
}

/**
 * What a pass would do now: reads and decides, and writes nothing. `again`: there may be room for more than was known of, and the
 * `nth` pass of one call, from 0, looks further. `hasApart`: something is in quarantine. `isFromMemory`: some classes may have nothing ready any more.
 */
export async function planAdmission(
  db: Db,
  cache: TaskClassCache,
  scope: Scope,
  nth = 0,
  term: number | null = null,
): Promise<{ plan: AdmissionPlan; again: boolean; hasApart: boolean; isFromMemory: boolean }> {
  const capacity = await readCapacity(db, cache);
  const { lanes, groups } = laneRooms(capacity.lanes, capacity.workers, capacity.contention);
  const { pools, dags, systemLimit, live } = capacity;
  const empty: Demand = {
    lanes,
    groups,
    pools,
    dags,
    systemLimit,
    live,
    liveOfRuns: new Map(),
    workers: [],
    ready: [],
  };
  const { read, unread } = lanesToRead(empty, capacity, scope);
  const isRegular = scope === "all lanes";
  forgetOld(cache, term, isRegular, (of) => !canBeOvertaken(of));
  // The maps of now, whatever another pass forgets meanwhile.
  const mine = { ...cache };
  const { standing } = mine;
  const apart = [...capacity.apart.tasks];
  const { ready, isFromMemory } = await readReadyClasses(db, mine, read, nth, apart);
  const demand = await withRunsAndWorkers(db, { ...empty, ready }, apart);
  const decision = decideAdmission(demand);
  const gone = isRegular && capacity.anyWaits ? await waitingNoMore(db, ready) : [];
  const overRuns = isRegular ? await keysOfOverRuns(db, demand) : undefined;
  const plan = admissionPlan({ term, capacity, demand, unread, standing, decision, gone, overRuns });
  return { plan, again: decision.again, hasApart: capacity.apart.isKnown, isFromMemory };
}

function lanesToRead(
  empty: Demand,
  { readyLanes, contention }: Capacity,
  scope: Scope,
): { read: LaneRoom[]; unread: Map<LaneRoom, WaitReason> } {
  const ledger = createLedger(empty);
  const unread = new Map<LaneRoom, WaitReason>();
  const read = empty.lanes.filter((lane) => {
    if (!readyLanes.has(lane.id)) return false;
    const reason = ledger.laneBlocks(lane);
    // A class that waits for a slot of certain workers says nothing of what else waits in a full lane.
    if (reason === undefined || scope === "all lanes" || contention.has(slotKey(lane.groupId))) return true;
    unread.set(lane, reason);
    return false;
  });
  return { read, unread };
}

/** What only some classes need: their ready tasks by run, and each worker with what is free of it. */
async function withRunsAndWorkers(db: Db, demand: Demand, apart: readonly string[]): Promise<Demand> {
  const limited = demand.ready.filter(({ dagId }) => (demand.dags.get(dagId)?.runLimit ?? null) !== null);
  const workers = demand.ready.some(isParticular) ? await readWorkers(db) : [];
  if (limited.length === 0) return { ...demand, workers };
  const most = Math.max(...demand.lanes.map(({ room }) => room));
  const limitOf = (dagId: string): number => demand.dags.get(dagId)!.runLimit!;
  const { runs, live } = await readReadyRuns(db, limited, most, limitOf, apart);
  const ready = demand.ready.map((of): ReadyClass => {
    const found = runs.get(of.id);
    if (found === undefined) return of;
    const sum = found.runs.reduce((total, run) => total + run.ready, 0);
    return { ...of, ready: sum, hasMore: found.hasMore, runs: found.runs };
  });
  return { ...demand, workers, ready, liveOfRuns: live };
}

/** Classes that are said to wait and have nothing ready, at most 10,000. */
async function waitingNoMore(db: Db, ready: readonly ReadyClass[]): Promise<number[]> {
  const ids = new Set(ready.map(({ id }) => id));
  return (await waitingClasses(db)).filter((id) => !ids.has(id)).slice(0, 10_000);
}

/** Keys of DAGs of which a run has more live tasks than one may have now: a limit that was lowered. */
async function keysOfOverRuns(db: Db, { live, dags }: Demand): Promise<string[]> {
  const limits = new Map<number, number>();
  for (const { of } of live) {
    const limit = dags.get(of.dagId)?.runLimit ?? null;
    if (limit !== null) limits.set(of.id, limit);
  }
  if (limits.size === 0) return [];
  return (await overRunLimits(db, limits)).map((dagId) => `run:${dagId}`);
}
