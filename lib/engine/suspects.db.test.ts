import { beforeEach, describe, expect, test } from "vitest";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { SUSPECT_AFTER } from "#lib/db/lost-attempts.ts";
import { inTx } from "#lib/db/tx.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimSome,
  forgetRuns,
  keepsLease,
  publish,
  runState,
  start,
  states,
  success,
  worker,
} from "#lib/testing/engine.ts";
import { admitLeft } from "./admit.ts";
import { finish } from "./finish.ts";
import { LEASE_MS, LOST_ALLOWANCE } from "./lease.ts";
import { sweepAll, takeBackExpired } from "./sweep.ts";

/** Which of the tasks that ran on a worker that died is what kills workers, and that the others do not fail for it. */

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

type Process = { ref: WorkerRef; held: Map<string, { claimed: Claimed; turns: number }> };

type Scene = {
  tasks: number;
  workers: number;
  slots: number;
  /** Turns that a task takes: so many it must be there in a row. */
  length: number;
  /** Places of tasks in the DAG whose worker dies in the turn in which they begin. */
  poison: readonly number[];
  /** Turns at whose end a worker dies by itself, and which one. */
  deaths?: Readonly<Record<number, number>>;
  /** A worker that dies starts again under its name, or its leases run out. */
  isRestarted: boolean;
};

type Played = { states: string[]; deaths: number; most: number; lost: number[] };

async function broken(): Promise<string[]> {
  const findings = await inTx(database.pool, checkInvariants);
  return findings.filter(({ broken: rows, id }) => rows.length > 0 && id.startsWith("suspects")).map(({ id }) => id);
}

async function die(process: Process, isRestarted: boolean, slots: number): Promise<void> {
  const { deps, pool } = database;
  const { id, epoch } = process.ref;
  process.held.clear();
  if (!isRestarted) {
    const over = "set lease_until = sluice.clock() - interval '1 s'";
    await pool.query(`update sluice.live_attempt ${over} where worker_id = $1 and worker_epoch = $2`, [id, epoch]);
    await pool.query(`update sluice.worker ${over} where id = $1 and epoch = $2`, [id, epoch]);
    await takeBackExpired(deps, 0);
  }
  process.ref = await worker(deps, id, slots);
  await keepsLease(deps, process.ref);
}

/** Plays a run of a DAG without edges to its end, turn by turn. */
async function play(scene: Scene): Promise<Played> {
  const { deps, pool } = database;
  const { tasks, workers, slots, length, poison, deaths = {}, isRestarted } = scene;
  await publish(deps, "scene", Object.fromEntries(Array.from({ length: tasks }, (_, n) => [`t${n}`, []])));
  const processes: Process[] = [];
  for (let n = 0; n < workers; n++) {
    const ref = await worker(deps, `w${n}`, slots);
    await keepsLease(deps, ref);
    processes.push({ ref, held: new Map() });
  }
  const runId = await start(deps, "scene");
  const isPoison = (id: string): boolean => poison.includes(Number(BigInt(id) & 1_048_575n));
  const played: Played = { states: [], deaths: 0, most: 0, lost: [] };
  for (let turn = 0; (await runState(deps, runId)) === "running"; turn++) {
    await sweepAll(deps);
    await admitLeft(deps);
    for (const process of processes)
      for (const claimed of await claimSome(deps, process.ref, slots - process.held.size))
        process.held.set(claimed.taskInstanceId, { claimed, turns: 0 });
    await pool.query(
      "update sluice.live_attempt set lease_until = sluice.clock() + interval '1 hour' where state = 'running'",
    );
    expect(await broken()).toEqual([]);
    for (const [at, process] of processes.entries()) {
      if ([...process.held.keys()].some(isPoison) || deaths[turn] === at) {
        played.deaths++;
        await die(process, isRestarted, slots);
        continue;
      }
      const over = [...process.held.values()].filter((one) => ++one.turns >= length).map(({ claimed }) => claimed);
      await finish(deps, over.map(success), `worker:${process.ref.id}`);
      for (const { taskInstanceId } of over) process.held.delete(taskInstanceId);
    }
  }
  played.states = await states(deps, runId);
  const { rows } = await pool.query<{ lost: number }>(
    "select lost_attempts as lost from sluice.task_instance order by id",
  );
  played.lost = rows.map(({ lost }) => lost);
  return played;
}

const others = <T>(all: readonly T[], poison: readonly number[]): T[] => all.filter((_, n) => !poison.includes(n));

describe("one task of a hundred kills its worker each time", () => {
  for (const [workers, isRestarted] of [
    [1, true],
    [3, true],
    [3, false],
  ] as const)
    test(`it fails after ${LOST_ALLOWANCE + 1} deaths, all others succeed: ${workers} workers that ${isRestarted ? "start again" : "are replaced"}`, async () => {
      const poison = [17];
      const played = await play({ tasks: 101, workers, slots: 8, length: 3, poison, isRestarted });
      expect(played.states[17]).toBe("failed");
      expect(new Set(others(played.states, poison))).toEqual(new Set(["success"]));
      expect(played.deaths).toBe(LOST_ALLOWANCE + 1);
      // As long as it is not suspect itself it takes others along, and then none of them twice.
      expect(Math.max(...others(played.lost, poison))).toBeLessThanOrEqual(SUSPECT_AFTER);
    }, 120_000);

  test("two of them do, and the same holds", async () => {
    const poison = [3, 40];
    const played = await play({ tasks: 60, workers: 2, slots: 8, length: 3, poison, isRestarted: true });
    expect(poison.map((n) => played.states[n])).toEqual(["failed", "failed"]);
    expect(new Set(others(played.states, poison))).toEqual(new Set(["success"]));
    expect(played.deaths).toBeLessThanOrEqual(2 * (LOST_ALLOWANCE + 1));
  }, 120_000);
});

test("five deaths that no task is the cause of fail none, whoever was there each time", async () => {
  const deaths = { 1: 0, 3: 0, 5: 0, 7: 0, 9: 0 };
  const played = await play({ tasks: 4, workers: 1, slots: 4, length: 4, poison: [], deaths, isRestarted: true });
  expect(played).toMatchObject({ deaths: 5, states: ["success", "success", "success", "success"] });
});
