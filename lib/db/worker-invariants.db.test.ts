import { afterEach, describe, expect, test } from "vitest";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { admit } from "#lib/engine/admit.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimSome, forgetRuns, keepsLease, moveClock, registration, start } from "#lib/testing/engine.ts";
import { checkInvariants } from "./invariants.ts";
import { inTx } from "./tx.ts";
import { publishVersion } from "./versions.ts";
import { setWorkerAhead, setWorkerState, type WorkerRegistration } from "./workers.ts";

/** More than workers have room for is found, and what they had room for when it was given to them is not. */

const database = testDatabase();

afterEach(() => forgetRuns(database.deps));

async function publish(tasks: number, task: object = {}): Promise<void> {
  const spec = DagSpec.parse({
    id: "wide",
    tasks: Array.from({ length: tasks }, (_, n) => ({
      id: `t${n}`,
      type: "bash",
      config: { command: "true" },
      ...task,
    })),
  });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: "wide.yaml", source: "", author: "test" }));
}

async function join(of: Partial<WorkerRegistration> = {}) {
  const worker = await registerWorker(database.deps, { ...registration("w", 1), ...of });
  await keepsLease(database.deps, worker);
  return worker;
}

async function broken(): Promise<string[]> {
  const findings = await inTx(database.pool, checkInvariants);
  return findings.filter((finding) => finding.broken.length > 0).map(({ id }) => id);
}

/** Hands over so many ready tasks in one transaction, whatever the room is. */
async function handOver(count: number, assignedTo: string | null = null): Promise<void> {
  await database.pool.query(
    `with moved as (
       update sluice.task_instance set state = 'queued', attempts = attempts + 1
        where id in (select id from sluice.task_instance where state = 'ready' order by id limit $1) returning *)
     insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at, assigned_to)
     select id, attempts, gen_random_uuid(), 'queued', workload_id, lane_id, ready_at, $2 from moved order by id`,
    [count, assignedTo],
  );
}

/** What is handed over runs on the worker, whatever its slots are. */
async function runAll(): Promise<void> {
  await database.pool.query(
    `update sluice.live_attempt a set state = 'running', worker_id = w.id, worker_epoch = w.epoch, token = gen_random_uuid(),
            started_at = sluice.clock(), lease_until = sluice.clock() + interval '1 hour' from sluice.worker w where a.state = 'queued'`,
  );
  await database.pool.query(
    "update sluice.task_instance set state = 'running', started_at = sluice.clock() where state = 'queued'",
  );
}

/** Later than what somebody may still have read the room before. */
const later = (seconds: number) => moveClock(database.deps, `${seconds} s`);

describe("lane-room", () => {
  test("a batch beyond the lane's room is found", async () => {
    await publish(12);
    await join({ processSlots: 4 });
    await start(database.deps, "wide");
    await later(10);
    expect(await broken()).toEqual([]);
    await handOver(1);
    expect(await broken()).toEqual(["lane-room"]);
  });

  test("whoever hands over at the same time may each fill the window; what comes later may not", async () => {
    await publish(12);
    await join({ processSlots: 4 });
    await start(database.deps, "wide");
    await database.pool.query("delete from sluice.live_attempt where state = 'queued'");
    await database.pool.query("update sluice.task_instance set state = 'ready', attempts = 0 where state = 'queued'");
    await later(10);
    for (let n = 0; n < 5; n++) await handOver(1);
    await runAll();
    // Five run in four slots: that is for another check.
    const others = async () => (await broken()).filter((id) => id !== "worker-slots");
    await later(11);
    await handOver(1);
    await handOver(1);
    expect(await others()).toEqual([]);
    await later(14);
    await handOver(1);
    expect(await others()).toEqual(["lane-room"]);
  });

  test("what was handed over while the room was larger is not found", async () => {
    await publish(12);
    const worker = await join({ processSlots: 8 });
    await start(database.deps, "wide");
    await later(10);
    await setWorkerState(database.pool, worker, "draining");
    await join({ id: "small" });
    await admit(database.deps);
    await later(20);
    expect(await broken()).toEqual([]);
    await handOver(1);
    expect(await broken()).toEqual(["lane-room"]);
  });

  test("nor when the clock was set back before the room was made smaller", async () => {
    await publish(12);
    const worker = await join({ processSlots: 8 });
    await later(40);
    await start(database.deps, "wide");
    await later(20);
    await setWorkerState(database.pool, worker, "draining");
    await join({ id: "small" });
    await admit(database.deps);
    expect(await broken()).toEqual([]);
    await later(50);
    await handOver(1);
    expect(await broken()).toEqual(["lane-room"]);
  });

  test("together with other lanes of the same workers no more than these have room for is handed over", async () => {
    await publish(12);
    const lanes = ["default", "other"];
    await join({ processSlots: 4, queues: lanes });
    await start(database.deps, "wide");
    await later(10);
    // The other lane has taken all of the group's room.
    await database.pool.query(
      `insert into sluice.lane (queue, slot_class, slots, room, group_id, group_room, changed_since)
       select 'other', 'process', slots, room, id, group_room, sluice.clock() - interval '1 hour' from sluice.lane where queue = 'default'
       on conflict (queue, slot_class) do update set slots = excluded.slots, room = excluded.room, group_id = excluded.group_id`,
    );
    expect(await broken()).toEqual([]);
    await database.pool.query(
      "update sluice.live_attempt set lane_id = (select id from sluice.lane where queue = 'other')",
    );
    await later(20);
    await handOver(2);
    expect(await broken()).toEqual(["lane-room"]);
    await database.pool.query("delete from sluice.lane where queue = 'other'");
  });
});

describe("lane-slots", () => {
  test("more slots, or more room, than the workers of a lane ever had is found", async () => {
    await publish(2);
    await join({ processSlots: 4 });
    await start(database.deps, "wide");
    await later(20);
    expect(await broken()).toEqual([]);
    await database.pool.query("update sluice.lane set slots = 5 where queue = 'default' and slot_class = 'process'");
    expect(await broken()).toEqual(["lane-slots"]);
    await database.pool.query(
      "update sluice.lane set slots = 4, room = 1000 where queue = 'default' and slot_class = 'process'",
    );
    expect(await broken()).toEqual(["lane-slots"]);
  });

  test("a worker that has gone, or come back with fewer slots since, is no fault", async () => {
    await publish(2);
    const worker = await join({ processSlots: 4 });
    await start(database.deps, "wide");
    await later(20);
    await setWorkerState(database.pool, worker, "stopped");
    expect(await broken()).toEqual([]);
    // Without the pass that it asks for.
    await database.pool.query(
      "update sluice.worker set epoch = epoch + 1, process_slots = 1, state = 'active', started_at = sluice.clock()",
    );
    expect((await broken()).includes("lane-slots")).toBe(false);
  });
});

describe("worker-slots", () => {
  test("a worker with one task more than slots is found", async () => {
    await publish(5);
    await join({ processSlots: 4 });
    await start(database.deps, "wide");
    await runAll();
    expect(await broken()).toEqual(["worker-slots"]);
    await database.pool.query("update sluice.worker set process_slots = 5");
    expect(await broken()).toEqual([]);
  });

  test("what it claims ahead is not counted, nor what it claimed ahead before that became less; what comes later is", async () => {
    await publish(8);
    const worker = await join({ processSlots: 2 });
    await setWorkerAhead(database.pool, worker, { process: 4, function: 0 });
    await admit(database.deps);
    await start(database.deps, "wide");
    expect(await claimSome(database.deps, worker, 6)).toHaveLength(6);
    expect(await broken()).toEqual([]);
    await later(10);
    await setWorkerAhead(database.pool, worker, { process: 0, function: 0 });
    expect(await broken()).toEqual([]);
    // A child that continues in the slot of one of them is no claim.
    await later(20);
    const [first] = (
      await database.pool.query<{ id: string }>(
        "select task_instance_id as id from sluice.live_attempt where state = 'running'",
      )
    ).rows;
    const begunNow = (readyBefore: string) =>
      database.pool.query(
        `update sluice.live_attempt a set ready_at = c.at - $2::interval, queued_at = c.at, started_at = c.at
           from (select sluice.clock() as at) c where task_instance_id = $1`,
        [first!.id, readyBefore],
      );
    await begunNow("0");
    expect(await broken()).toEqual([]);
    await begunNow("1 s");
    expect(await broken()).toEqual(["worker-slots"]);
  });

  test("a worker that begins anew has nothing from before", async () => {
    await publish(5);
    const worker = await join({ processSlots: 4 });
    await later(10);
    await setWorkerAhead(database.pool, worker, { process: 4, function: 0 });
    await setWorkerAhead(database.pool, worker, { process: 0, function: 0 });
    await join({ processSlots: 4 });
    await start(database.deps, "wide");
    await runAll();
    expect(await broken()).toEqual(["worker-slots"]);
  });
});

test.for(["cpu", "memory"])(
  "worker-resources: tasks that ask for more %s than their worker has are found",
  async (of) => {
    await publish(4, { resources: { cpu: 1, memory: "1Gi" } });
    await join({ processSlots: 100 });
    await start(database.deps, "wide");
    await admit(database.deps);
    expect(await broken()).toEqual([]);
    await database.pool.query(
      `update sluice.worker set ${of} = ${of} / 2, started_at = sluice.clock() - interval '1 hour'`,
    );
    expect(await broken()).toEqual(["worker-resources"]);
  },
);

describe("worker-offers", () => {
  const labelled = { workerLabels: ["gpu"] };

  test("a task that runs without the label it needs, or on a worker of other queues, is found", async () => {
    await publish(1, labelled);
    await join({ offers: ["gpu"] });
    await start(database.deps, "wide");
    await admit(database.deps);
    expect(await broken()).toEqual([]);
    await runAll();
    expect(await broken()).toEqual([]);
    await database.pool.query("update sluice.worker set offers = '{other}'");
    expect(await broken()).toEqual(["worker-offers"]);
    await database.pool.query("update sluice.worker set offers = '{other,gpu}', queues = '{other}'");
    expect((await broken()).filter((id) => id !== "lane-slots")).toEqual(["worker-offers"]);
  });

  test("a task that anybody may take although it needs a label is found, and one for a worker without it", async () => {
    await publish(2, labelled);
    await join({ processSlots: 9 });
    await start(database.deps, "wide");
    await handOver(1, "w");
    // It may have offered more until just now.
    expect(await broken()).toEqual([]);
    await later(10);
    await database.pool.query("update sluice.live_attempt set queued_at = sluice.clock()");
    expect(await broken()).toEqual(["worker-offers"]);
    await database.pool.query("update sluice.live_attempt set assigned_to = null");
    expect(await broken()).toEqual(["worker-offers"]);
  });

  test("what a worker had under its name before it came back with other labels is not found", async () => {
    await publish(2, labelled);
    await join({ processSlots: 9, offers: ["gpu"] });
    await start(database.deps, "wide");
    await admit(database.deps);
    await database.pool.query("update sluice.worker set epoch = epoch + 1, offers = '{}', started_at = sluice.clock()");
    expect(await broken()).toEqual([]);
  });
});
