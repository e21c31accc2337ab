import { applyAdmission, rememberApplied } from "#lib/db/admission.ts";
import { createTaskClassCache } from "#lib/db/task-classes.ts";
import { inTx } from "#lib/db/tx.ts";
import { planAdmission } from "#lib/engine/admit.ts";
import { postgresCpuMs } from "../cpu.ts";
import { type Figure, figureOf } from "../report.ts";
import type { System } from "../system.ts";
import type { MeasureContext } from "./measure.ts";

const DAGS = 2_000;
const TASKS_OF_EACH = 20;
/** Beyond all ids of runs that the system gives. */
const FIRST_RUN = 1_000_000_000;
const PASSES = 50;
const PASS_TARGET_MS = 20;
const FULL_TARGET_MS = 5;

/** Of the lease by which the measure leads; the system's own scheduler stands. */
const TERM = 1;

/** What a pass of admission takes, of node's and the database's processors together, with 2,000 DAGs ready in one lane. */
export async function admission({ system, times }: MeasureContext): Promise<Figure[]> {
  const { pool } = system;
  const cache = createTaskClassCache();
  await fill(system);
  const passMs = (scope: "open lanes" | "all lanes"): Promise<number> =>
    cpuMs(system, async () => {
      const { plan } = await planAdmission(pool, cache, scope, 0, TERM);
      if (plan.grants.length > 0) throw new Error("the measure wants a pass that admits nothing");
    });
  // What waits for its pool is written down before it is measured.
  const { plan: first } = await planAdmission(pool, cache, "all lanes", 0, TERM);
  rememberApplied(cache, first, (await applyAdmission(pool, { ...first, term: null })).at);
  system.stand();
  const overAll = await times(() => passMs("open lanes"));
  const regular = await times(() => passMs("all lanes"));
  // As many live attempts as there is room for: nothing of the lane's classes is read.
  await pool.query(`
    insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at)
    select n, 1, gen_random_uuid(), 'queued', w.id, w.lane_id, sluice.clock()
      from (select id, lane_id from sluice.workload where queue = 'crowd' limit 1) w, generate_series(1, 10) n`);
  const overFull = await times(() => passMs("open lanes"));
  system.go();
  return [
    figureOf({ id: "admission.pass", kind: "cost", unit: "ms", runs: overAll, target: { atMost: PASS_TARGET_MS } }),
    figureOf({ id: "admission.regular", kind: "cost", unit: "ms", runs: regular }),
    figureOf({ id: "admission.full", kind: "cost", unit: "ms", runs: overFull, target: { atMost: FULL_TARGET_MS } }),
  ];
}

/** Processor time of one call, here and in the database, whatever else the machine does. */
async function cpuMs({ pids }: System, work: () => Promise<void>): Promise<number> {
  const began = await postgresCpuMs(pids.postgres);
  const here = process.cpuUsage();
  for (let n = 0; n < PASSES; n++) await work();
  const { user, system } = process.cpuUsage(here);
  return ((user + system) / 1_000 + (await postgresCpuMs(pids.postgres)) - began) / PASSES;
}

/** DAGs with ready tasks that wait for a pool with one slot, which is taken, in a lane of eight slots. */
async function fill({ pool }: System): Promise<void> {
  await inTx(pool, async (tx) => {
    // A DAG and its current version need each other, and no pass asks for either.
    await tx.query("set local session_replication_role = replica");
    await tx.query(
      `insert into sluice.dag (id, file, file_hash, max_active_runs, current_version_id)
       select 'crowd-' || n, 'crowd', '', 16, -n from generate_series(1, $1::int) n`,
      [DAGS],
    );
    await tx.query("set local session_replication_role = origin");
    await tx.query("insert into sluice.pool (name, slots) values ('crowd', 1)");
    await tx.query(
      `insert into sluice.workload (dag_id, queue, slot_class, pool, slots, priority, cpu, memory)
       select 'crowd-' || n, 'crowd', 'process', 'crowd', 1, 'medium', 0, 0 from generate_series(1, $1::int) n`,
      [DAGS],
    );
    await tx.query(
      `insert into sluice.task_instance (id, run_id, state, workload_id, lane_id, open_parents, ready_at)
       select ($1::bigint + w.id) << 20 | n, $1::bigint + w.id, 'ready', w.id, w.lane_id, 0, sluice.clock()
         from sluice.workload w, generate_series(1, $2::int) n where w.queue = 'crowd'`,
      [FIRST_RUN, TASKS_OF_EACH],
    );
    await tx.query(
      `insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at)
       select 0, 1, gen_random_uuid(), 'queued', id, lane_id, sluice.clock()
         from sluice.workload where queue = 'crowd' limit 1`,
    );
    await tx.query(
      `insert into sluice.worker (id, epoch, host, pid, version, queues, process_slots, function_slots, inline_slots,
                                  cpu, memory, state, lease_until)
       values ('crowd', 1, 'bench', 1, 'bench', '{crowd}', 8, 0, 0, 0, 0, 'active', sluice.clock() + interval '1 day')`,
    );
  });
  await pool.query("vacuum (analyze) sluice.task_instance, sluice.workload, sluice.dag");
}
