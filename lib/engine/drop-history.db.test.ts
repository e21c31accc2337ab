import { beforeEach, describe, expect, test } from "vitest";
import { dropHistory } from "#lib/db/drop-history.ts";
import { keptGenerations, listGenerations, markEmpty, openGeneration } from "#lib/db/generations.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { inTx } from "#lib/db/tx.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { moveClock } from "#lib/testing/engine.ts";
import { held, withoutLockTimeout } from "#lib/testing/races.ts";
import {
  deleteAll,
  ended,
  freshGenerations,
  HISTORY_TABLES,
  oldRun,
  partitionsOf,
  retentionPass,
  RUN_TABLES,
  runExists,
} from "#lib/testing/retention.ts";
import { publishScheduled } from "#lib/testing/schedules.ts";
import { dropEmpty, rotateGenerations } from "./retention.ts";
import { clearRun } from "./run-actions.ts";

const database = testDatabase();
const another = testDatabase();
const BASH = { tasks: [{ id: "only", type: "bash", config: { command: "true" } }] };

beforeEach(() => freshGenerations(database.deps));

/** A detach waits for the transactions that have read the table. */
async function waitsForReaders(): Promise<void> {
  for (;;) {
    const { rowCount } = await database.pool.query(
      "select from pg_locks where relation = 'sluice.event'::regclass and mode = 'AccessExclusiveLock' and not granted",
    );
    if (rowCount! > 0) return;
  }
}

describe("a generation's history is dropped", () => {
  test("when it is closed and its last run is gone, and not before", async () => {
    const { deps, pool } = database;
    const { runId, generation } = await oldRun(deps, "history");
    await moveClock(deps, "10 days");
    const late = await ended(deps, "history");
    await moveClock(deps, "29 days");
    await retentionPass(deps);
    expect(await partitionsOf(deps, generation)).toEqual(Object.keys(HISTORY_TABLES).toSorted());
    await moveClock(deps, "39 days");
    await retentionPass(deps);
    expect(await runExists(deps, runId)).toBe(false);
    expect(await partitionsOf(deps, generation)).toEqual([]);
    expect((await listGenerations(pool)).map(({ number }) => number)).not.toContain(generation.number);
    for (const [table, key] of Object.entries({ ...RUN_TABLES, ...HISTORY_TABLES }))
      expect((await pool.query(`select from sluice.${table} where ${key} = $1`, [runId])).rowCount).toBe(0);
    expect(await runExists(deps, late)).toBe(true);
    expect((await inTx(pool, checkInvariants)).filter(({ broken }) => broken.length > 0)).toEqual([]);
  });

  test("completely also after a process has died at any point of it", async () => {
    const { deps, pool } = database;
    const { runId, generation } = await oldRun(deps, "halves");
    await moveClock(deps, "60 days");
    await deleteAll(deps);
    await markEmpty(pool);
    const n = generation.number;
    // Dropped, only detached, detached half-way (which only the catalog can tell), and not begun.
    await pool.query(`alter table sluice.event detach partition sluice.event_g${n} concurrently`);
    await pool.query(`drop table sluice.event_g${n}`);
    await pool.query(`alter table sluice.xcom detach partition sluice.xcom_g${n} concurrently`);
    const reader = await held(deps, (tx) => tx.query("select count(*) from sluice.attempt"));
    const impatient = await pool.connect();
    await impatient.query("set statement_timeout = 100");
    await expect(
      impatient.query(`alter table sluice.attempt detach partition sluice.attempt_g${n} concurrently`),
    ).rejects.toThrow("statement timeout");
    await impatient.query("reset statement_timeout");
    impatient.release();
    await reader.commit();
    await dropEmpty(deps);
    expect(await partitionsOf(deps, generation)).toEqual([]);
    expect((await listGenerations(pool)).map(({ number }) => number)).not.toContain(n);
    expect(await runExists(deps, runId)).toBe(false);
  });

  test("by one scheduler at a time, and sessions that run tasks go on while it waits", async () => {
    const { deps } = database;
    const { runId, generation } = await oldRun(deps, "busy");
    await moveClock(deps, "60 days");
    await publishScheduled(deps, "going", BASH);
    await deleteAll(deps);
    await withoutLockTimeout(deps);
    // A reader of all of it keeps the drop waiting, and others for moments.
    const reader = await held(deps, (tx) => tx.query("select count(*) from sluice.event, sluice.attempt"));
    const dropping = Promise.all([dropEmpty(deps), dropEmpty(deps)]);
    await waitsForReaders();
    const another = await ended(deps, "going");
    await rotateGenerations(deps);
    await reader.commit();
    await dropping;
    expect(await runExists(deps, runId)).toBe(false);
    expect(await runExists(deps, another)).toBe(true);
    expect(await partitionsOf(deps, generation)).toEqual([]);
    expect(await dropHistory(database.deps, generation)).toEqual({ outcome: "dropped" });
  });
});

describe("what keeps history", () => {
  test("SQL refuses to drop it while a run is left, whether it goes on or has ended", async () => {
    const { deps, pool } = database;
    const { runId, generation } = await oldRun(deps, "refused");
    const mark = "update sluice.generation set dropping_at = sluice.clock() where number = $1";
    const remove = "delete from sluice.generation where number = $1";
    for (const text of [mark, remove])
      await expect(pool.query(text, [generation.number])).rejects.toMatchObject({ code: "55006" });
    await clearRun(deps, runId, {}, { actor: "anna" });
    await moveClock(deps, "60 days");
    for (const text of [mark, remove])
      await expect(pool.query(text, [generation.number])).rejects.toMatchObject({ code: "55006" });
    await retentionPass(deps);
    expect(await partitionsOf(deps, generation)).toEqual(Object.keys(HISTORY_TABLES).toSorted());
    const kept = await keptGenerations(pool);
    expect(kept.find(({ number }) => number === generation.number)).toEqual({
      number: generation.number,
      runs: [runId],
      more: false,
    });
  });

  test("a drop asks the row first, so nothing is dropped of a generation that the row does not allow", async () => {
    const { deps, pool } = database;
    const all = Object.keys(HISTORY_TABLES).toSorted();
    const { generation } = await oldRun(deps, "unmarked");
    await expect(dropHistory(deps, generation)).rejects.toThrow(/not marked; nothing is dropped/);
    expect(await partitionsOf(deps, generation)).toEqual(all);
    // As if it had been marked in another database: here a run is left.
    await pool.query("alter table sluice.generation disable trigger refuse_mark_trg");
    await pool.query("update sluice.generation set dropping_at = sluice.clock() where number = $1", [
      generation.number,
    ]);
    await pool.query("alter table sluice.generation enable trigger refuse_mark_trg");
    await expect(dropHistory(deps, generation)).rejects.toMatchObject({ code: "55006" });
    expect(await partitionsOf(deps, generation)).toEqual(all);
    const other = { ...generation, endRun: String(BigInt(generation.endRun) + 1n) };
    await expect(dropHistory(deps, other)).rejects.toThrow(/not the one that was to be dropped/);
    expect(await partitionsOf(deps, generation)).toEqual(all);
  });

  test("and nothing in another database that the session's address names, also where the row there allows it", async () => {
    await freshGenerations(another.deps);
    await another.pool.query("update sluice.generation set dropping_at = sluice.clock() where number = 1");
    const [there] = await listGenerations(another.pool);
    expect(there).toMatchObject({ number: 1, droppingAt: expect.any(Date) as Date });
    const wrong = { ...database.deps, sessionUrl: another.url };
    await expect(dropHistory(wrong, there!)).rejects.toThrow(/leads to another database/);
    expect(await partitionsOf(another.deps, there!)).toEqual(Object.keys(HISTORY_TABLES).toSorted());
  });

  const limits = { youngS: 0, waitMs: 300 };

  async function marked(dagId: string): ReturnType<typeof oldRun> {
    const { deps, pool } = database;
    const old = await oldRun(deps, dagId);
    await moveClock(deps, "60 days");
    await deleteAll(deps);
    await markEmpty(pool);
    return old;
  }

  test("a transaction that has read it is named, nothing is begun, and the first call after its end drops it", async () => {
    const { deps, pool } = database;
    const { generation } = await marked("read");
    const reader = await held(deps, async (tx) => {
      await tx.query("select count(*) from sluice.event");
      return (await tx.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]!.pid;
    });
    const drop = await dropHistory(database.deps, generation, limits);
    expect(drop).toMatchObject({ outcome: "blocked", by: [{ pid: reader.result, application: "sluice-test" }] });
    expect(await partitionsOf(deps, generation)).toEqual(Object.keys(HISTORY_TABLES).toSorted());
    expect((await pool.query("select from pg_inherits where inhdetachpending")).rowCount).toBe(0);
    await reader.commit();
    expect(await dropHistory(database.deps, generation, limits)).toEqual({ outcome: "dropped" });
    expect(await partitionsOf(deps, generation)).toEqual([]);
  });

  test("so is one that came just before, and other sessions go on, also one that opens a generation", async () => {
    const { deps, pool } = database;
    const { generation } = await marked("waited");
    await publishScheduled(deps, "beside", BASH);
    const reader = await held(deps, async (tx) => {
      await tx.query("begin isolation level repeatable read");
      await tx.query("select count(*) from sluice.event");
      return (await tx.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]!.pid;
    });
    const by = [{ pid: reader.result }];
    // Young enough to be waited for, and not gone at the limit: nothing is half-done.
    expect(await dropHistory(database.deps, generation, { ...limits, youngS: 60 })).toMatchObject({
      outcome: "blocked",
      by,
    });
    expect((await pool.query("select from pg_inherits where inhdetachpending")).rowCount).toBe(0);
    await openGeneration(pool, 30);
    await ended(deps, "beside");
    expect(await dropHistory(database.deps, generation, limits)).toMatchObject({ outcome: "blocked", by });
    await reader.commit();
    expect(await dropHistory(database.deps, generation, { ...limits, youngS: 60 })).toEqual({ outcome: "dropped" });
    expect(await partitionsOf(deps, generation)).toEqual([]);
  });

  test("and one that has locked a partition which is detached already, as a dump does", async () => {
    const { deps, pool } = database;
    const { generation } = await marked("dumped");
    const part = `sluice.event_g${generation.number}`;
    await pool.query(`alter table sluice.event detach partition ${part} concurrently`);
    const dump = await held(deps, async (tx) => {
      await tx.query(`lock table ${part} in access share mode`);
      return (await tx.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]!.pid;
    });
    const by = [{ pid: dump.result }];
    expect(await dropHistory(database.deps, generation, limits)).toMatchObject({ outcome: "blocked", by });
    expect(await dropHistory(database.deps, generation, { ...limits, youngS: 60 })).toMatchObject({
      outcome: "blocked",
      by,
    });
    await dump.commit();
    expect(await dropHistory(database.deps, generation, limits)).toEqual({ outcome: "dropped" });
  });
});
