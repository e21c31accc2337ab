import { beforeEach, describe, expect, test } from "vitest";
import { insertBundle, publishVersion, republishVersion } from "#lib/db/versions.ts";
import { inTx } from "#lib/db/tx.ts";
import { deleteBundles, deleteVersionTasks, deleteWorkloads } from "#lib/db/unneeded.ts";
import type { Tx } from "#lib/db/pool.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { KEPT_VERSIONS } from "#lib/domain/model/retention.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { nothingBroken } from "#lib/testing/backfills.ts";
import { forgetRuns, start, states, worker } from "#lib/testing/engine.ts";
import { held, waitsForLock } from "#lib/testing/races.ts";
import { createUnneededRows } from "./delete-unneeded.ts";
import { deleteExpired } from "./retention.ts";

const database = testDatabase();
const DAG = "kept";

beforeEach(async () => {
  await forgetRuns(database.deps);
  await database.pool.query(
    "truncate sluice.dag, sluice.dag_version, sluice.dag_task, sluice.bundle, sluice.workload cascade",
  );
});

type Change = { queue?: string; bundle?: string; tasks?: number };

function specOf(label: string, { queue = "default", bundle, tasks = 1 }: Change = {}): DagSpec {
  return DagSpec.parse({
    id: DAG,
    ...(bundle === undefined ? {} : { bundle }),
    tasks: Array.from({ length: tasks }, (_, at) => ({
      id: `t${at}`,
      type: "bash",
      queue,
      config: { command: label },
    })),
  });
}

const publishIn =
  (label: string, change: Change = {}) =>
  async (tx: Tx): Promise<void> => {
    if (change.bundle !== undefined) await insertBundle(tx, change.bundle, { "main.ts": label });
    await publishVersion(tx, specOf(label, change), { file: `${DAG}.yaml`, source: label, author: "test" });
  };

const publish = (label: string, change?: Change): Promise<void> => inTx(database.pool, publishIn(label, change));

/** So many more versions, each another. */
async function publishMany(count: number, change?: Change): Promise<void> {
  for (let n = 0; n < count; n++) await publish(`more-${n}`, change);
}

async function numbers(): Promise<number[]> {
  const { rows } = await database.pool.query<{ number: number }>("select number from sluice.dag_version order by 1");
  return rows.map(({ number }) => number);
}

async function names(text: string): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>(text);
  return rows.map(({ name }) => name);
}

const bundles = (): Promise<string[]> => names("select hash as name from sluice.bundle order by 1");
const queues = (): Promise<string[]> => names("select queue as name from sluice.workload order by 1");

/** The first pass finds what has no use; the second deletes it. */
async function cleanTwice(): Promise<void> {
  const pass = createUnneededRows(database.deps);
  await pass();
  await pass();
}

const hash = (letter: string): string => letter.repeat(64);
const upTo = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, at) => first + at);

describe("versions that nothing needs", () => {
  test("go with their tasks, workloads and bundles; the latest ones stay for rollbacks", async () => {
    await publish("old", { queue: "old", bundle: hash("a"), tasks: 3 });
    await publishMany(KEPT_VERSIONS, { bundle: hash("b") });
    await cleanTwice();
    expect(await numbers()).toEqual(upTo(KEPT_VERSIONS + 1, 2));
    expect(await bundles()).toEqual([hash("b")]);
    expect(await queues()).toEqual(["default"]);
    const orphans = await database.pool.query(
      "select from sluice.dag_task t where not exists (select from sluice.dag_version v where v.id = t.version_id)",
    );
    expect(orphans.rowCount).toBe(0);
    await nothingBroken(database.deps);
  });

  test("stay as long as a run of theirs does, with all that it needs, and go with it", async () => {
    const { deps, pool } = database;
    await worker(deps, "w");
    await publish("old", { queue: "old", bundle: hash("a") });
    const runId = await start(deps, DAG);
    await publishMany(KEPT_VERSIONS + 2);
    await cleanTwice();
    expect(await numbers()).toEqual([1, ...upTo(KEPT_VERSIONS + 3, 4)]);
    expect([await bundles(), await queues()]).toEqual([[hash("a")], ["default", "old"]]);
    expect(await states(deps, runId)).toHaveLength(1);
    await nothingBroken(deps);
    await pool.query("update sluice.task_instance set state = 'success', ended_at = sluice.clock()");
    await pool.query("update sluice.dag_run set state = 'success', ended_at = sluice.clock() - interval '1 year'");
    await deleteExpired(deps);
    await cleanTwice();
    expect(await numbers()).toEqual(upTo(KEPT_VERSIONS + 3, 4));
    expect([await bundles(), await queues()]).toEqual([[], ["default"]]);
  });

  test("go in bounded statements", async () => {
    await publish("old", { tasks: 25 });
    const { rows } = await database.pool.query<{ id: string }>("select id from sluice.dag_version");
    const ids = rows.map(({ id }) => id);
    const deleted = [];
    for (let n = 0; n < 4; n++) deleted.push(await deleteVersionTasks(database.pool, ids, 10));
    expect(deleted).toEqual([10, 10, 5, 0]);
  });
});

describe("a version without a run", () => {
  test("is not deleted while a transaction is under way that may be starting one, nor after that has", async () => {
    const { deps } = database;
    await publish("old");
    // As a start does while another transaction starts runs of the DAG: only then does no publication wait for it.
    const starting = await held(deps, async (tx) => {
      await tx.query("set local idle_in_transaction_session_timeout = 0");
      await tx.query(
        `insert into sluice.dag_run
           (id, keep_days, dag_id, version_id, state, trigger_kind, logical_date, interval_start, interval_end, actor)
         select sluice.new_run_id(30), 30, id, current_version_id, 'queued', 'manual', now(), now(), now(), 'test' from sluice.dag`,
      );
    });
    await publishMany(KEPT_VERSIONS + 1);
    const pass = createUnneededRows(deps);
    await pass();
    await pass();
    expect((await numbers())[0]).toBe(1);
    await starting.commit();
    await pass();
    expect(await numbers()).toEqual([1, ...upTo(KEPT_VERSIONS + 2, 3)]);
    await nothingBroken(deps);
  });

  test("is deleted whatever transactions began after it was found", async () => {
    const { deps } = database;
    await publishMany(KEPT_VERSIONS + 1);
    const pass = createUnneededRows(deps);
    await pass();
    const later = await held(deps, (tx) => tx.query("select from sluice.dag"));
    await pass();
    expect((await numbers())[0]).toBe(2);
    await later.commit();
  });

  test("keeps its bundle for a rollback to it that is under way", async () => {
    const { deps, pool } = database;
    await publish("old", { bundle: hash("a") });
    await publishMany(KEPT_VERSIONS);
    const pass = createUnneededRows(deps);
    await pass();
    const back = await held(deps, (tx) => republishVersion(tx, DAG, 1, "anna"));
    await pass();
    expect(await bundles()).toEqual([hash("a")]);
    await back.commit();
    await cleanTwice();
    expect(await bundles()).toEqual([hash("a")]);
    const { rows } = await pool.query("select max(number) as number from sluice.dag_version where bundle is not null");
    expect(rows).toEqual([{ number: KEPT_VERSIONS + 2 }]);
    await nothingBroken(deps);
  });
});

describe("a workload and a bundle without use", () => {
  const left = { queue: "left", bundle: hash("c") };

  /** Both are there, and no version has them. */
  async function leave(): Promise<void> {
    await publish("old", left);
    await publish("new");
    await database.pool.query(
      "delete from sluice.dag_task where version_id = (select min(id) from sluice.dag_version)",
    );
    await database.pool.query("delete from sluice.dag_version where number = 1");
  }

  test("stay when a version that is being published has them", async () => {
    await leave();
    const publishing = await held(database.deps, publishIn("again", left));
    expect(await inTx(database.pool, (tx) => deleteWorkloads(tx, 10))).toBe(0);
    expect(await inTx(database.pool, (tx) => deleteBundles(tx, 10))).toBe(0);
    await publishing.commit();
    await cleanTwice();
    expect([await queues(), await bundles()]).toEqual([["default", "left"], [hash("c")]]);
    await nothingBroken(database.deps);
  });

  test("are made anew by a version that is published while they are being deleted", async () => {
    await leave();
    const deleting = await held(database.deps, async (tx) => [
      await deleteWorkloads(tx, 10),
      await deleteBundles(tx, 10),
    ]);
    expect(deleting.result).toEqual([1, 1]);
    const publishing = publish("again", left);
    await waitsForLock(database.deps);
    await deleting.commit();
    await publishing;
    expect([await queues(), await bundles()]).toEqual([["default", "left"], [hash("c")]]);
    await nothingBroken(database.deps);
  });
});
