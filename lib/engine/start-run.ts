import { canonicalJson, type Json, sha256 } from "#lib/domain/canonical.ts";
import { AppError, messageOf } from "#lib/domain/errors.ts";
import { storableJson } from "#lib/domain/output.ts";
import { paramValues } from "#lib/domain/param-values.ts";
import type { CompiledSchedule } from "#lib/domain/schedule/compile.ts";
import { compileDefinition } from "#lib/domain/schedule/definition.ts";
import { manualTimes } from "#lib/domain/schedule/manual-times.ts";
import {
  findRunKey,
  findStartable,
  insertRunIfCurrent,
  insertRunKey,
  type InsertedRun,
  type KeyedRun,
  lockRunKey,
  type NewRun,
  readClock,
  triggerRunIfCurrent,
} from "#lib/db/runs.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import { admitStarted } from "./admit-started.ts";
import type { EngineDeps } from "./deps.ts";
import { effects } from "./effects.ts";
import { followUp } from "./follow-up.ts";
import type { RunTemplate } from "./run-template.ts";

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
  const { runId, created, started, again, lanes, told, isAdmitted } = await create(deps, request);
  if (created) {
    // A run that another process kept from starting here is started after that process is done.
    const dagsWithRoom = started.includes(runId) ? [] : [request.dagId];
    const changedRuns = [...new Set([runId, ...started])];
    const wantsAdmission = isAdmitted ? again : await admitStarted(deps, started);
    // For workers that did not hear.
    if (told) deps.queue.bells.ring(lanes);
    const made = effects({ changedRuns, dagsWithRoom, lanes: told ? [] : lanes, wantsAdmission });
    await followUp(deps, made).catch((error: unknown) => {
      deps.log.warn({ error: messageOf(error) }, "a new run was not started at once; a scheduler will retry");
    });
  }
  return { runId, created };
}

/** `isAdmitted`: what the started runs have ready was admitted with them, as far as that needs no full pass. */
type CreatedRun = InsertedRun & { created: boolean; isAdmitted: boolean };

/** The DAG may get another version between the read of it and the insert, which then does nothing. */
const MAX_READS = 5;

async function create(deps: EngineDeps, { idempotencyKey: key, ...run }: StartRun): Promise<CreatedRun> {
  const requestHash = hashOf(run);
  // Before anything is checked: what was accepted once stays accepted, whatever the DAG has become since.
  const earlier = key === undefined ? undefined : await findRunKey(deps.pool, run.dagId, key);
  if (earlier) return sameRun(earlier, requestHash);
  for (let reads = 0; reads < MAX_READS; reads++) {
    const isFresh = reads > 0 || deps.caches.templates.get(run.dagId) === undefined;
    const template = await templateOf(deps, run.dagId, isFresh);
    const values = paramValues(template.params ?? {}, run.conf);
    if (!values.ok && isFresh)
      throw new AppError("invalid_request", values.problems.join("; "), { problems: values.problems });
    if (!values.ok) continue;
    const times = await timesOf(deps, run, template.schedules);
    const { versionId } = template;
    const created = await insert(deps, { ...run, ...times, versionId, params: values.params }, key, requestHash);
    if (created !== undefined) return created;
  }
  throw new Error(`DAG "${run.dagId}" gets new versions faster than a run can be started`);
}

/** A run of a DAG without schedules covers the instant of its insert, for which no clock has to be read. */
async function timesOf(
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
): Promise<CreatedRun | undefined> {
  if (key === undefined) {
    const triggered = await retried(() => triggerRunIfCurrent(deps.pool, run));
    return triggered && { ...triggered, created: true, isAdmitted: true };
  }
  return inTx(deps.pool, async (tx) => {
    const known = await lockRunKey(tx, run.dagId, key);
    if (known) return sameRun(known, requestHash);
    // Admitted after the commit: a transaction of several round trips must not hold the lock of admission.
    const inserted = await insertRunIfCurrent(tx, run);
    if (inserted) await insertRunKey(tx, run.dagId, key, { runId: inserted.runId, requestHash });
    return inserted && { ...inserted, created: true, isAdmitted: false };
  });
}

function sameRun({ runId, requestHash: first }: KeyedRun, requestHash: string): CreatedRun {
  const nothing = { started: [], again: false, lanes: [], told: false, isAdmitted: false };
  if (first === requestHash) return { runId, created: false, ...nothing };
  throw new AppError("idempotency_key_reused", "this idempotency key was used with another request", { runId });
}

async function templateOf({ pool, caches }: EngineDeps, dagId: string, isFresh: boolean): Promise<RunTemplate> {
  const known = isFresh ? undefined : caches.templates.get(dagId);
  if (known !== undefined) return known;
  const found = await findStartable(pool, dagId);
  if (found === undefined) {
    caches.templates.delete(dagId);
    throw new AppError("dag_not_found", `there is no DAG "${dagId}"`);
  }
  const template = { ...found, schedules: found.schedules.map((each) => compileDefinition(dagId, each)) };
  caches.templates.set(dagId, template);
  return template;
}

function hashOf({ conf, logicalDate, note }: NewRun): string {
  return sha256(canonicalJson({ conf: conf as Json, logicalDate: logicalDate?.toISOString(), note }));
}
