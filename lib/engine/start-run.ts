import { canonicalJson, type Json, sha256 } from "#lib/domain/canonical.ts";
import { AppError, messageOf } from "#lib/domain/errors.ts";
import { storableJson } from "#lib/domain/output.ts";
import { paramValues } from "#lib/domain/param-values.ts";
import { findStartable, insertRun, insertRunKey, lockRunKey, type NewRun } from "#lib/db/runs.ts";
import { inTx } from "#lib/db/tx.ts";
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
  const started = await inTx(deps.pool, async (tx) => {
    const { idempotencyKey: key, ...run } = request;
    const requestHash = hashOf(run);
    const known = key === undefined ? undefined : await lockRunKey(tx, run.dagId, key);
    if (known && known.requestHash !== requestHash) {
      throw new AppError("idempotency_key_reused", "this idempotency key was used with another request", {
        runId: known.runId,
      });
    }
    if (known) return { runId: known.runId, created: false };
    const startable = await findStartable(tx, run.dagId);
    if (startable === undefined) throw new AppError("dag_not_found", `there is no DAG "${run.dagId}"`);
    const values = paramValues(startable.params ?? {}, run.conf);
    if (!values.ok) throw new AppError("invalid_request", values.problems.join("; "), { problems: values.problems });
    const runId = await insertRun(tx, { ...run, ...startable, params: values.params });
    if (key !== undefined) await insertRunKey(tx, run.dagId, key, { runId, requestHash });
    return { runId, created: true };
  });
  if (started.created) {
    deps.notifier.announce("sluice_runs", [started.runId]);
    await startQueuedRuns(deps, request.dagId).catch((error: unknown) => {
      deps.log.warn({ error: messageOf(error) }, "a queued run could not be started at once; a scheduler will");
    });
  }
  return started;
}

function hashOf({ conf, logicalDate, note }: NewRun): string {
  return sha256(canonicalJson({ conf: conf as Json, logicalDate: logicalDate?.toISOString(), note }));
}
