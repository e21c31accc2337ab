import { canonicalJson, type Json, sha256 } from "#lib/domain/canonical.ts";
import { AppError, messageOf } from "#lib/domain/errors.ts";
import { storableJson } from "#lib/domain/output.ts";
import { paramValues } from "#lib/domain/param-values.ts";
import type { CompiledSchedule } from "#lib/domain/schedule/compile.ts";
import { compileDefinition } from "#lib/domain/schedule/definition.ts";
import { manualTimes } from "#lib/domain/schedule/manual-times.ts";
import type { Db } from "#lib/db/pool.ts";
import {
  findRunKey,
  findStartable,
  insertRunIfCurrent,
  insertRunKey,
  type KeyedRun,
  lockRunKey,
  type NewRun,
  readClock,
  type Startable,
} from "#lib/db/runs.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import { admit } from "./admit.ts";
import type { EngineDeps } from "./deps.ts";
import { startQueuedRuns } from "./start-queued-runs.ts";

export type StartRun = NewRun & {
  /** The same key for the same DAG gives the same run, however often it is sent. */
  idempotencyKey?: string | undefined;
};

/**
 * Starts a run of the DAG's current version; beyond the DAG's limit of active runs it is queued until one ends. Once
 * this answers, the run exists and will end.
 * Throws `dag_not_found`, `invalid_request` when `conf` is not what the DAG's params allow or cannot be stored, and
 * `idempotency_key_reused` when the key was used with another request.
 */
export async function startRun(deps: EngineDeps, request: StartRun): Promise<{ runId: string; created: boolean }> {
  const conf = storableJson(request.conf);
  if (!conf.ok) throw new AppError("invalid_request", `conf: ${conf.error}`);
  const born = await create(deps, request);
  if (born.created)
    await handOn(deps, request.dagId, born).catch((error: unknown) => {
      deps.log.warn({ error: messageOf(error) }, "a queued run could not be started at once; a scheduler will");
    });
  return { runId: born.runId, created: born.created };
}

type Born = { runId: string; created: boolean; started: string[] };

/** The DAG may get another version between the look at it and the insert, which then does nothing. */
const MAX_LOOKS = 5;

async function create(deps: EngineDeps, { idempotencyKey: key, ...run }: StartRun): Promise<Born> {
  const requestHash = hashOf(run);
  // Before anything is checked: what was accepted once stays accepted, whatever the DAG has become since.
  const earlier = key === undefined ? undefined : await findRunKey(deps.pool, run.dagId, key);
  if (earlier) return sameRun(earlier, requestHash);
  for (let looks = 0; looks < MAX_LOOKS; looks++) {
    const isFresh = looks > 0 || !startables(deps).has(run.dagId);
    const startable = await startableOf(deps, run.dagId, isFresh);
    const values = paramValues(startable.params ?? {}, run.conf);
    if (!values.ok && isFresh)
      throw new AppError("invalid_request", values.problems.join("; "), { problems: values.problems });
    if (!values.ok) continue;
    const about = await aboutOf(deps, run, startable.schedules);
    const { versionId } = startable;
    const born = await insert(deps, { ...run, ...about, versionId, params: values.params }, key, requestHash);
    if (born !== undefined) return born;
  }
  throw new Error(`DAG "${run.dagId}" gets new versions faster than a run can be started`);
}

/** A run of a DAG without schedules is about the moment of its insert, and needs no look at the clock. */
async function aboutOf(
  deps: EngineDeps,
  { logicalDate, interval }: NewRun,
  schedules: readonly CompiledSchedule[],
): Promise<Pick<NewRun, "logicalDate" | "interval">> {
  if (schedules.length === 0 || interval !== undefined) return { logicalDate, interval };
  const now = logicalDate ?? (await readClock(deps.pool));
  const times = manualTimes(schedules, { logicalDate, now });
  return { logicalDate: times.logicalDate, interval: { start: times.intervalStart, end: times.intervalEnd } };
}

type CheckedRun = Parameters<typeof insertRunIfCurrent>[1];

/** Undefined when the version is not the current one any more. */
async function insert(
  deps: EngineDeps,
  run: CheckedRun,
  key: string | undefined,
  requestHash: string,
): Promise<Born | undefined> {
  const fresh = async (db: Db): Promise<Born | undefined> => {
    const born = await insertRunIfCurrent(db, run);
    return born && { ...born, created: true };
  };
  if (key === undefined) return retried(() => fresh(deps.pool));
  return inTx(deps.pool, async (tx) => {
    const known = await lockRunKey(tx, run.dagId, key);
    if (known) return sameRun(known, requestHash);
    const born = await fresh(tx);
    if (born) await insertRunKey(tx, run.dagId, key, { runId: born.runId, requestHash });
    return born;
  });
}

function sameRun({ runId, requestHash: first }: KeyedRun, requestHash: string): Born {
  if (first === requestHash) return { runId, created: false, started: [] };
  throw new AppError("idempotency_key_reused", "this idempotency key was used with another request", { runId });
}

/** What was started with the run is admitted; a run that others kept from starting gets its turn after them. */
async function handOn(deps: EngineDeps, dagId: string, { runId, started }: Born): Promise<void> {
  deps.notifier.announce("sluice_runs", [runId, ...started]);
  if (started.length > 0) await admit(deps);
  if (!started.includes(runId)) await startQueuedRuns(deps, dagId);
}

/** What a DAG's runs were last started from; the insert itself checks that it still is so. */
const MAX_KNOWN = 1_000;
type Known = Omit<Startable, "schedules"> & { schedules: CompiledSchedule[] };
const known = new WeakMap<EngineDeps, Map<string, Known>>();

function startables(deps: EngineDeps): Map<string, Known> {
  const found = known.get(deps) ?? new Map<string, Known>();
  known.set(deps, found);
  return found;
}

async function startableOf(deps: EngineDeps, dagId: string, isFresh: boolean): Promise<Known> {
  const all = startables(deps);
  const found = isFresh ? await findKnown(deps, dagId) : all.get(dagId);
  if (found === undefined) {
    all.delete(dagId);
    throw new AppError("dag_not_found", `there is no DAG "${dagId}"`);
  }
  if (all.size >= MAX_KNOWN) all.clear();
  all.set(dagId, found);
  return found;
}

async function findKnown({ pool }: EngineDeps, dagId: string): Promise<Known | undefined> {
  const found = await findStartable(pool, dagId);
  return found && { ...found, schedules: found.schedules.map((each) => compileDefinition(dagId, each)) };
}

function hashOf({ conf, logicalDate, note }: NewRun): string {
  return sha256(canonicalJson({ conf: conf as Json, logicalDate: logicalDate?.toISOString(), note }));
}
