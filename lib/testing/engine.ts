import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { setWorkerState, type WorkerRegistration } from "#lib/db/workers.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";

import type { TaskState } from "#lib/domain/states.ts";
import { admitLeft } from "#lib/engine/admit.ts";
import { claim } from "#lib/engine/claim.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { startRun } from "#lib/engine/start-run.ts";

/** A DAG of bash tasks from `task: parents`, published. */
export async function publish(deps: EngineDeps, id: string, tasks: Record<string, readonly string[]>): Promise<void> {
  const spec = DagSpec.parse({
    id,
    tasks: Object.entries(tasks).map(([task, dependsOn]) => ({
      id: task,
      type: "bash",
      config: { command: "true" },
      dependsOn,
    })),
  });
  await inTx(deps.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

const OF_RUNS = (
  "dag_run run_key run_deletion run_progress run_action parent_ends task_instance live_attempt " +
  "deferral attempt event log_loss dead_letter callback xcom workload_wait wait_span " +
  "worker pool system_limit contention lowered_limit deleted_pool lease quarantine backfill backfill_event"
)
  .split(" ")
  .map((name) => `sluice.${name}`);

/**
 * Of these tables and their partitions those that have pages: a new file for each of the others takes
 * most of the time.
 */
async function truncateFilled({ pool }: EngineDeps): Promise<void> {
  const { rows } = await pool.query<{ tables: string | null }>(
    `with leaf as (
       select t.name, l.relid from unnest($1::text[]) t(name), lateral (
         select p.relid::oid from pg_partition_tree(t.name::regclass) p where p.isleaf
         union select t.name::regclass::oid) l(relid)
        where pg_relation_size(l.relid) > 0)
     select string_agg(distinct coalesce(x.also, leaf.relid::regclass::text), ', ') as tables
       from leaf left join (values ('sluice.backfill', 'sluice.backfill, sluice.backfill_event'),
                                   ('sluice.backfill_event', 'sluice.backfill, sluice.backfill_event')) x(name, also)
         on x.name = leaf.name`,
    [OF_RUNS],
  );
  const tables = rows[0]!.tables;
  if (tables !== null) await pool.query(`truncate ${tables}`);
}

/** Empties what runs, workers and people have left; DAGs and their versions stay. The clock is the real one again. */
export async function forgetRuns(deps: EngineDeps): Promise<void> {
  await moveClock(deps, "0");
  await deps.pool.query("update sluice.dag set paused_by = null, paused_at = null");
  await truncateFilled(deps);
  await deps.pool.query(
    "update sluice.lane set slots = 0, room = 0, group_room = 0, own_slots = 0, time = 0, high = 0, medium = 0, low = 0",
  );
  // Apart, and not truncated: bells ring in the background.
  await deps.notifier.flush();
  await deps.pool.query("delete from sluice_boss.job");
}

/** From now on a pause of more than `most` open tasks is carried out in slices, as one of thousands is. */
export async function holdsAtOnce(deps: EngineDeps, most: number): Promise<void> {
  await deps.pool.query(
    `create or replace function sluice.hold_at_once() returns int language sql immutable as $$ select ${most} $$`,
  );
}

/** What a scheduler does again and again: admits what was left behind, and says why the rest waits. */
export async function patrolAdmission(deps: EngineDeps): Promise<void> {
  await admitLeft(deps);
}

export function worker(deps: EngineDeps, id: string, slots = 100): Promise<WorkerRef> {
  return registerWorker(deps, registration(id, slots));
}

/** For a test that may take longer than a lease on a busy machine, in which nothing beats for the worker: an expired one is admitted nothing. */
export async function keepsLease({ pool }: EngineDeps, { id }: WorkerRef): Promise<void> {
  await pool.query("update sluice.worker set lease_until = sluice.clock() + interval '1 hour' where id = $1", [id]);
}

/** What a worker says of itself. */
export function registration(id: string, slots = 100): WorkerRegistration {
  return {
    id,
    host: "test",
    pid: 1,
    version: "0.0.0",
    queues: ["default"],
    processSlots: slots,
    functionSlots: slots,
    inlineSlots: slots,
    cpu: 4_000,
    memory: 4_096,
    offers: [],
    isAnonymous: false,
  };
}

export async function start(deps: EngineDeps, dagId: string): Promise<string> {
  const { runId } = await startRun(deps, { dagId, conf: {}, triggerKind: "manual", actor: "test" });
  return runId;
}

/** A run whose tasks are ready and not admitted, with a worker that could take them. */
export async function startReady(deps: EngineDeps, dagId: string): Promise<string> {
  const w = await worker(deps, "w");
  await setWorkerState(deps.pool, w, "draining");
  const runId = await start(deps, dagId);
  await deps.pool.query("update sluice.worker set state = 'active'");
  return runId;
}

export function claimAll(deps: EngineDeps, ref: WorkerRef): Promise<Claimed[]> {
  return claimSome(deps, ref, 1_000);
}

export async function claimSome(deps: EngineDeps, ref: WorkerRef, max: number): Promise<Claimed[]> {
  const tokens = Array.from({ length: max }, deps.newToken);
  return (await claim(deps, ref, { queues: ["default"], slotClass: "process" }, tokens)).claimed;
}

type Held = Pick<Claimed, "taskInstanceId" | "token">;

export function success({ taskInstanceId: id, token }: Held): {
  taskInstanceId: string;
  token: string;
  state: "success";
  reason: string;
} {
  return { taskInstanceId: id, token, state: "success", reason: "EXIT" };
}

export function failed({ taskInstanceId: id, token }: Held): {
  taskInstanceId: string;
  token: string;
  state: "failed";
  reason: string;
} {
  return { taskInstanceId: id, token, state: "failed", reason: "EXIT" };
}

/** The run's tasks' states, in the DAG's order. */
export async function states(deps: EngineDeps, runId: string): Promise<TaskState[]> {
  const { rows } = await deps.pool.query<{ state: TaskState }>(
    "select state from sluice.task_instance where run_id = $1 order by id",
    [runId],
  );
  return rows.map((row) => row.state);
}

/** The states of all live attempts, sorted. */
export async function liveAttempts(deps: EngineDeps): Promise<string[]> {
  const { rows } = await deps.pool.query<{ state: string }>("select state from sluice.live_attempt order by 1");
  return rows.map((row) => row.state);
}

export async function runState(deps: EngineDeps, runId: string): Promise<string> {
  const { rows } = await deps.pool.query<{ state: string }>("select state from sluice.dag_run where id = $1", [runId]);
  return rows[0]!.state;
}

/** The pool puts another connection in the place of one whose statement failed: it gets the same clock. */
const offsets = new WeakMap<EngineDeps["pool"], string>();

/** Moves the engine's clock (`sluice.clock()`) on every connection of the pool. */
export async function moveClock({ pool }: EngineDeps, offset: string): Promise<void> {
  if (!offsets.has(pool)) pool.on("connect", (client) => void setOffset(client, offsets.get(pool)!));
  offsets.set(pool, offset);
  const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
  for (const client of clients) {
    await setOffset(client, offset);
    client.release();
  }
}

/** One that is about to end needs no clock. */
async function setOffset(client: Pick<EngineDeps["pool"], "query">, offset: string): Promise<void> {
  await client.query("select set_config('sluice.clock_offset', $1, false)", [offset]).catch(() => undefined);
}
