import { toMake } from "#lib/domain/backfill/plan.ts";
import { canonicalJson, type Json, sha256 } from "#lib/domain/canonical.ts";
import { AppError, messageOf } from "#lib/domain/errors.ts";
import type { Priority } from "#lib/domain/model/task.ts";
import { findBackfillKey, insertBackfill, queueBackfillRuns } from "#lib/db/backfill/make.ts";
import type { Tx } from "#lib/db/pool.ts";
import { lockSchedules } from "#lib/db/schedules.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "../deps.ts";
import { effects } from "../effects.ts";
import { followUp } from "../follow-up.ts";
import { type BackfillRequest, prepareBackfill, type PreparedBackfill } from "./prepare.ts";

export type CreateBackfill = BackfillRequest & {
  priority: Priority;
  note?: string | undefined;
  actor: string;
  /** The same key for the same DAG gives the same backfill, however often it is sent. */
  idempotencyKey?: string | undefined;
};

/** `nothing`: every logical date in the range has the run that it should have. */
export type Created =
  | { kind: "created"; backfillId: string; prepared: PreparedBackfill }
  | { kind: "known"; backfillId: string }
  | { kind: "nothing"; prepared: PreparedBackfill };

/**
 * Makes a backfill with all its runs, queued, of the DAG's current version, and starts as many as it allows at once. All of it or nothing
 * is made. Throws as `prepareBackfill` does, and `idempotency_key_reused` when the key was used with another request.
 */
export async function createBackfill(deps: EngineDeps, request: CreateBackfill): Promise<Created> {
  const created = await inTx(deps.pool, (tx) => create(tx, request));
  if (created.kind === "created")
    await followUp(deps, effects({ backfills: [created.backfillId] })).catch((error: unknown) => {
      deps.log.warn({ error: messageOf(error) }, "a backfill could not be started at once; a scheduler will");
    });
  return created;
}

async function create(tx: Tx, request: CreateBackfill): Promise<Created> {
  const { dagId, idempotencyKey: key, order, maxActive, priority, reprocess, conf, note, actor } = request;
  // Until the commit nobody else makes runs of these schedules, by a backfill or by firing, and the DAG keeps its version.
  await lockSchedules(tx, dagId);
  const requestHash = hashOf(request);
  const known = key === undefined ? undefined : await findBackfillKey(tx, dagId, key);
  if (known !== undefined) {
    if (known.requestHash === requestHash) return { kind: "known", backfillId: known.backfillId };
    const { backfillId } = known;
    throw new AppError("idempotency_key_reused", "this idempotency key was used with another request", { backfillId });
  }
  const prepared = await prepareBackfill(tx, request);
  const slices = toMake(prepared.plan);
  if (slices.length === 0) return { kind: "nothing", prepared };
  const { versionId, params, range, scheduleOrd } = prepared;
  const backfillId = await insertBackfill(tx, {
    dagId,
    range,
    scheduleOrd,
    order,
    maxActive,
    priority,
    reprocess,
    conf,
    note,
    slices: slices.length,
    actor,
    key,
    requestHash,
  });
  const common = { backfillId, dagId, versionId, conf, params, actor };
  const made = await queueBackfillRuns(
    tx,
    common,
    slices.map((slice) => ({ ...slice, nth: 1 })),
  );
  if (made.length !== slices.length) throw new Error(`${made.length} of ${slices.length} runs of a backfill were made`);
  return { kind: "created", backfillId, prepared };
}

function hashOf({ actor: _, idempotencyKey: __, ...asked }: CreateBackfill): string {
  return sha256(canonicalJson(JSON.parse(JSON.stringify(asked)) as Json));
}
