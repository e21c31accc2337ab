import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { claimSome, publish, start, worker } from "#lib/testing/engine.ts";

/** What the database itself refuses, whatever the code above it does: nonsense that no transition may leave behind. */

const database = testDatabase();

beforeAll(async () => {
  const { deps } = database;
  await publish(deps, "checked", { a: [], b: [], c: ["a"] });
  await start(deps, "checked");
  // One task that runs, one that is handed over, one that waits.
  await claimSome(deps, await worker(deps, "w"), 1);
});

const task = (set: string, state: string): string => `update sluice.task_instance set ${set} where state = '${state}'`;
const live = (set: string, state: string): string => `update sluice.live_attempt set ${set} where state = '${state}'`;
const attempt = (state: string): string =>
  `insert into sluice.attempt (task_instance_id, number, id, state, reason, ready_at, queued_at)
   select task_instance_id, number, id, '${state}', 'EXIT', queued_at, queued_at from sluice.live_attempt`;
const born = (columns: string, values: string): string =>
  `insert into sluice.live_attempt (task_instance_id, number, id, workload_id, lane_id, ready_at, ${columns})
   select t.id, 1, gen_random_uuid(), t.workload_id, t.lane_id, sluice.clock(), ${values} from sluice.task_instance t where t.state = 'waiting'`;

const deferral = (times: string): string =>
  `insert into sluice.deferral (task_instance_id, number, id, times, reason, worker_id, ready_at, queued_at, started_at, log_bytes)
   select task_instance_id, number, id, ${times}, 'no file', 'w', queued_at, queued_at, queued_at, 0 from sluice.live_attempt`;

/** By the constraint that refuses it. */
const REFUSED: Record<string, Record<string, string>> = {
  running_is_leased: {
    "a running attempt without a worker": live("worker_id = null", "running"),
    "a running attempt without the worker's epoch": live("worker_epoch = null", "running"),
    "a running attempt without a token": live("token = null", "running"),
    "a running attempt without a lease": live("lease_until = null", "running"),
    "a running attempt that has not begun": live("started_at = null", "running"),
    "a handed over attempt that somebody holds": live("state = 'queued'", "running"),
    "an attempt that starts to run with nobody": live("state = 'running'", "queued"),
    "an attempt that is born running with nobody": born("state", "'running'"),
  },
  live_state_check: {
    "a live attempt that has ended": live("state = 'success'", "running"),
    "a live attempt that holds a slot between two looks": live("state = 'deferred'", "running"),
  },
  attempt_end_check: {
    "history of an attempt that is still going": attempt("running"),
    "history of an attempt that was only handed over": attempt("queued"),
    "history of an attempt that goes on": attempt("deferred"),
  },
  task_state_check: { "a task in a state that there is not": task("state = 'paused'", "waiting") },
  waits_for_its_time: {
    "a retry at no time": task("state = 'retrying'", "running"),
    "a look at no time": task("state = 'deferred', deferred_id = gen_random_uuid()", "running"),
    "a time of a retry that there is not": task("not_before = sluice.clock()", "running"),
  },
  goes_on_while_open: {
    "a look of no attempt": task("state = 'deferred', not_before = sluice.clock()", "running"),
    "an attempt that goes on before the task has begun": task("deferred_id = gen_random_uuid()", "waiting"),
    "an attempt that goes on after a failure": task(
      "state = 'retrying', not_before = sluice.clock(), deferred_id = gen_random_uuid()",
      "running",
    ),
  },
  deferral_times_check: { 'an attempt that said "not yet" never': deferral("0") },
  task_instance_open_parents_check: { "fewer than no parents to wait for": task("open_parents = -1", "waiting") },
  in_its_run: { "a task in a run that is not its own": task("run_id = run_id + 1", "waiting") },
  ended_iff_final: {
    "a task that has ended at no time": task("state = 'success'", "running"),
    "a task that goes on after its end": task("ended_at = sluice.clock()", "running"),
    "a run that has ended at no time": "update sluice.dag_run set state = 'failed'",
    "a run that goes on after its end": "update sluice.dag_run set ended_at = sluice.clock()",
  },
  run_state_check: { "a run in a state that there is not": "update sluice.dag_run set state = 'paused'" },
  run_progress_open_check: { "fewer than no open tasks": "update sluice.run_progress set open = -1" },
  pool_slots_check: { "a pool of fewer than no slots": "insert into sluice.pool (name, slots) values ('p', -1)" },
  dag_max_active_runs_check: { "a DAG of which no run may go on": "update sluice.dag set max_active_runs = 0" },
  dag_max_active_tasks_check: { "a DAG of which no task may go on": "update sluice.dag set max_active_tasks = 0" },
  dag_max_active_tasks_per_run_check: {
    "a run of which no task may go on": "update sluice.dag set max_active_tasks_per_run = 0",
  },
  workload_slots_check: { "a task that takes no slot": "update sluice.workload set slots = 0" },
  worker_process_slots_check: { "a worker with fewer than no slots": "update sluice.worker set process_slots = -1" },
  worker_state_check: { "a worker in a state that there is not": "update sluice.worker set state = 'dead'" },
  dismissed_by_somebody: {
    "a dead letter that was dismissed by nobody":
      "insert into sluice.dead_letter (task_instance_id, dag_id, task_id, attempt, reason, dismissed_at) values (1 << 20, 'd', 't', 1, 'EXIT', sluice.clock())",
  },
};

const cases = Object.entries(REFUSED).flatMap(([constraint, statements]) =>
  Object.entries(statements).map(([what, statement]) => ({ what, statement, constraint })),
);

describe("the database refuses", () => {
  test.for(cases)("$what", async ({ statement, constraint }) => {
    await expect(database.pool.query(statement)).rejects.toMatchObject({ code: "23514", constraint });
  });

  test("a second live attempt of a task", async () => {
    const again = database.pool.query(
      `insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at)
       select task_instance_id, number + 1, gen_random_uuid(), 'queued', workload_id, lane_id, ready_at from sluice.live_attempt`,
    );
    await expect(again).rejects.toMatchObject({ code: "23505", constraint: "live_attempt_pkey" });
  });

  test("nothing of what is there", async () => {
    const { rows } = await database.pool.query<{ state: string }>("select state from sluice.task_instance order by id");
    expect(rows.map(({ state }) => state)).toEqual(["running", "queued", "waiting"]);
    await expect(database.pool.query(task("held = held", "waiting"))).resolves.toMatchObject({ rowCount: 1 });
  });
});
