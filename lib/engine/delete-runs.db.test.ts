import { beforeEach, describe, expect, test } from "vitest";
import { listDeadLetters } from "#lib/db/dead-letters.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { deleteSlice } from "#lib/db/retention.ts";
import { lockRun } from "#lib/db/run-states.ts";
import { inTx } from "#lib/db/tx.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { moveClock, publish, runState } from "#lib/testing/engine.ts";
import { held, waitsForLock } from "#lib/testing/races.ts";
import {
  deleteAll,
  ended,
  endedBadly,
  freshGenerations,
  generationOf,
  insertExpired,
  oldRun,
  retentionPass,
  RUN_TABLES,
  runExists,
} from "#lib/testing/retention.ts";
import { publishScheduled } from "#lib/testing/schedules.ts";
import { clearRun } from "./run-actions.ts";

const database = testDatabase();
const BASH = { tasks: [{ id: "only", type: "bash", config: { command: "true" } }] };

beforeEach(() => freshGenerations(database.deps));

describe("a run is deleted", () => {
  test("as long after its end as its DAG said, whatever else is in its generation", async () => {
    const { deps, pool } = database;
    await publishScheduled(deps, "old", BASH);
    const runId = await ended(deps, "old");
    await publishScheduled(deps, "week", { ...BASH, retention: "7d" });
    const short = await ended(deps, "week");
    await moveClock(deps, "6 days");
    const late = await ended(deps, "old");
    expect((await generationOf(deps, late)).number).toBe((await generationOf(deps, runId)).number);
    await retentionPass(deps);
    expect([await runExists(deps, runId), await runExists(deps, short)]).toEqual([true, true]);
    await moveClock(deps, "8 days");
    await retentionPass(deps);
    expect([await runExists(deps, runId), await runExists(deps, short)]).toEqual([true, false]);
    await moveClock(deps, "31 days");
    await retentionPass(deps);
    expect([await runExists(deps, runId), await runExists(deps, late)]).toEqual([false, true]);
    for (const [table, key] of Object.entries(RUN_TABLES))
      expect((await pool.query(`select from sluice.${table} where ${key} = $1`, [runId])).rowCount).toBe(0);
    expect((await pool.query("select from sluice.run_deletion")).rowCount).toBe(0);
    expect((await inTx(pool, checkInvariants)).filter(({ broken }) => broken.length > 0)).toEqual([]);
  });

  test("not while it goes on, also when it was brought back", async () => {
    const { deps } = database;
    const { runId } = await oldRun(deps, "revived");
    await clearRun(deps, runId, {}, { actor: "anna" });
    await moveClock(deps, "60 days");
    await retentionPass(deps);
    expect(await runState(deps, runId)).toBe("running");
  });
});

const rowsOf = async (table: string, runId: string): Promise<number> =>
  (await database.pool.query(`select from sluice.${table} where run_id = $1`, [runId])).rowCount!;

describe("of a clear and a deletion at the same moment one wins", () => {
  test("the clear that came first: the run is left out, and stays", async () => {
    const { deps } = database;
    const { runId } = await oldRun(deps, "clear-first");
    await moveClock(deps, "60 days");
    const clearing = await held(deps, (tx) => lockRun(tx, runId));
    await retentionPass(deps);
    await clearing.commit();
    await clearRun(deps, runId, {}, { actor: "anna" });
    await retentionPass(deps);
    expect(await runExists(deps, runId)).toBe(true);
    expect((await generationOf(deps, runId)).droppingAt).toBeNull();
  });

  test("the clear that is committed between the reading of expired runs and their lock", async () => {
    const { deps, pool } = database;
    const { runId } = await oldRun(deps, "clear-between");
    await moveClock(deps, "60 days");
    // The statement that reads asks for the time once, when its snapshot is taken: there it waits in one session.
    type Function = { definition: string };
    const { rows } = await pool.query<Function>("select pg_get_functiondef('sluice.clock'::regproc) as definition");
    await pool.query(`
      create or replace function sluice.clock() returns timestamptz language plpgsql volatile as $$
      begin
        if current_setting('sluice.waits', true) = 'yes' then perform pg_advisory_xact_lock_shared(7); end if;
        return clock_timestamp() + coalesce(nullif(current_setting('sluice.clock_offset', true), '')::interval, interval '0');
      end $$`);
    try {
      const gate = await held(deps, (tx) => tx.query("select pg_advisory_xact_lock(7)"));
      const deleting = inTx(pool, async (tx) => {
        await tx.query("select set_config('sluice.waits', 'yes', true)");
        return tx.query("select deleted from sluice.delete_runs(30, '-infinity', 100)");
      });
      await waitsForLock(deps);
      await pool.query("update sluice.dag_run set state = 'queued', ended_at = null where id = $1", [runId]);
      await gate.commit();
      expect((await deleting).rows).toEqual([{ deleted: 0 }]);
    } finally {
      await pool.query(rows[0]!.definition);
    }
    expect(await runExists(deps, runId)).toBe(true);
  });

  test("the deletion that came first: there is nothing to clear", async () => {
    const { deps, pool } = database;
    const { runId } = await oldRun(deps, "delete-first");
    await moveClock(deps, "60 days");
    await pool.query("update sluice.retention set next_slice_at = null");
    const deleting = await held(deps, (tx) => deleteSlice(tx, 100));
    // It saw the run, and has said what is to be done with it.
    const clearing = clearRun(deps, runId, {}, { actor: "anna" });
    await waitsForLock(deps);
    await deleting.commit();
    expect(await clearing).toBe(false);
    expect(await rowsOf("run_action", runId)).toBe(0);
    await expect(clearRun(deps, runId, {}, { actor: "anna" })).rejects.toMatchObject({ code: "run_not_found" });
    await deleteAll(deps);
    expect(await rowsOf("task_instance", runId)).toBe(0);
  });
});

describe("a run stays after its time", () => {
  const stays = async (runId: string): Promise<void> => {
    const { deps } = database;
    await moveClock(deps, "60 days");
    await deleteAll(deps);
    expect(await runExists(deps, runId)).toBe(true);
  };

  test("while a call of its end waits", async () => {
    const { runId } = await oldRun(database.deps, "calls");
    await database.pool.query("insert into sluice.callback (run_id, event) values ($1, 'success')", [runId]);
    await stays(runId);
    await database.pool.query("delete from sluice.callback");
    await deleteAll(database.deps);
    expect(await runExists(database.deps, runId)).toBe(false);
  });

  test("while what a person asked of it is not done", async () => {
    const { runId } = await oldRun(database.deps, "asked");
    await database.pool.query("insert into sluice.run_action (run_id, kind, actor) values ($1, 'clear', 'anna')", [
      runId,
    ]);
    await stays(runId);
    await database.pool.query("delete from sluice.run_action");
  });

  test("while its backfill goes on, and the backfill goes with its last run", async () => {
    const { deps, pool } = database;
    const { runId } = await oldRun(deps, "filled");
    await pool.query(
      `with s as (insert into sluice.schedule (dag_id, timing, definition, position)
                  values ('filled', 'cron', '{}', now()) returning id),
            b as (insert into sluice.backfill (dag_id, range_start, range_end, start_order, max_active, priority, reprocess, conf,
                                               slices, actor, request_hash)
                  values ('filled', now(), now(), 'asc', 1, 'low', 'missing', '{}', 1, 'anna', '') returning id)
       update sluice.dag_run r set trigger_kind = 'backfill', schedule_id = s.id, backfill_id = b.id from s, b where r.id = $1`,
      [runId],
    );
    await stays(runId);
    await pool.query("update sluice.backfill set state = 'success', ended_at = sluice.clock()");
    await retentionPass(deps);
    expect(await runExists(deps, runId)).toBe(false);
    expect((await pool.query("select from sluice.backfill")).rowCount).toBe(0);
  });
});

describe("what is much is deleted in slices", () => {
  const TASKS = 40;

  async function wide(dagId: string): Promise<string> {
    const { deps } = database;
    await publish(deps, dagId, Object.fromEntries(Array.from({ length: TASKS }, (_, n) => [`t${n}`, []])));
    const runId = await ended(deps, dagId);
    await moveClock(deps, "60 days");
    return runId;
  }

  const slice = async (): Promise<number> => {
    await database.pool.query("update sluice.retention set next_slice_at = null");
    return (await deleteSlice(database.pool, 12)).deleted;
  };

  test("none of more rows than asked for, and any scheduler goes on where the last one stopped", async () => {
    const { deps, pool } = database;
    const runId = await wide("sliced");
    await slice();
    // A clear that saw the run, and was committed when it was gone.
    await pool.query("insert into sluice.run_action (run_id, kind, actor) values ($1, 'clear', 'anna')", [runId]);
    const left: number[] = [];
    while ((await rowsOf("run_deletion", runId)) > 0) {
      left.push(await rowsOf("task_instance", runId));
      expect(await slice()).toBeLessThanOrEqual(12);
    }
    expect(await runExists(deps, runId)).toBe(false);
    expect(left).toEqual([40, 28, 16, 4]);
    expect([await rowsOf("task_instance", runId), await rowsOf("run_action", runId)]).toEqual([0, 0]);
  });

  test("what is left of a run in between is not seen", async () => {
    const { deps, pool } = database;
    await publish(deps, "ghost", { a: [] });
    const runId = await endedBadly(deps, "ghost");
    expect((await listDeadLetters(pool, { runId })).length).toBe(1);
    await moveClock(deps, "60 days");
    await slice();
    expect(await rowsOf("task_instance", runId)).toBe(1);
    expect(await listDeadLetters(pool, { runId })).toEqual([]);
    expect(await listDeadLetters(pool, {})).toEqual([]);
    await expect(clearRun(deps, runId, {}, { actor: "anna" })).rejects.toMatchObject({ code: "run_not_found" });
    expect((await inTx(pool, checkInvariants)).filter(({ broken }) => broken.length > 0)).toEqual([]);
  });

  test("and several schedulers together at the pace of one", async () => {
    const { deps, pool } = database;
    await wide("paced");
    const first = await held(deps, (tx) => deleteSlice(tx, 12));
    expect(first.result.deleted).toBe(4);
    expect(first.result.waitMs).toBeGreaterThan(0);
    // Beside a slice that is under way, and before the time that it asked for.
    expect(await deleteSlice(pool, 12)).toEqual({ deleted: 0, waitMs: 1_000 });
    await first.commit();
    const { rows } = await pool.query("select next_slice_at is not null as paced from sluice.retention");
    expect(rows).toEqual([{ paced: true }]);
    await pool.query("update sluice.retention set next_slice_at = sluice.clock() + interval '50 s'");
    const early = await deleteSlice(pool, 12);
    expect(early.deleted).toBe(0);
    expect(early.waitMs).toBeGreaterThan(10_000);
    // A time that a clock which was wrong has left is none.
    await pool.query("update sluice.retention set next_slice_at = sluice.clock() + interval '1 day'");
    expect((await deleteSlice(pool, 12)).deleted).toBe(12);
  });

  test("a run that a pass could not take is taken by the next one, also when later runs are gone", async () => {
    const { deps } = database;
    const first = await wide("taken");
    const second = await ended(deps, "taken");
    await moveClock(deps, "120 days");
    const reader = await held(deps, (tx) => lockRun(tx, first));
    await deleteAll(deps);
    expect([await runExists(deps, first), await runExists(deps, second)]).toEqual([true, false]);
    await reader.commit();
    await deleteAll(deps);
    expect(await runExists(deps, first)).toBe(false);
  });

  test("each of about the same cost, also while an old snapshot keeps what was deleted before", async () => {
    const { deps, pool } = database;
    await publish(deps, "pinned", { a: [] });
    await insertExpired(deps, "pinned", 12_000);
    const reader = await held(deps, async (tx) => {
      await tx.query("set transaction isolation level repeatable read");
      await tx.query("select count(*) from sluice.dag");
    });
    const rowsIn = async (table: string): Promise<number> =>
      (await pool.query<{ n: number }>(`select count(*)::int as n from sluice.${table}`)).rows[0]!.n;
    type Plan = { Plan: { "Shared Hit Blocks": number; "Shared Read Blocks": number } };
    /** The blocks that a slice which deletes runs has read, and the next one, which deletes their tasks. */
    const blocksOfTwo = async (): Promise<number[]> => {
      const blocks: number[] = [];
      for (const left of [10, 0]) {
        await pool.query("update sluice.retention set next_slice_at = null");
        const { rows } = await pool.query<{ "QUERY PLAN": [Plan] }>(
          "explain (analyze, buffers, format json) select * from sluice.delete_slice(40)",
        );
        expect(await rowsIn("run_deletion")).toBe(left);
        const { Plan: plan } = rows[0]!["QUERY PLAN"][0];
        blocks.push(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]);
      }
      return blocks;
    };
    await blocksOfTwo();
    const [runs, tasks] = await blocksOfTwo();
    while ((await rowsIn("dag_run")) > 3_000 || (await rowsIn("run_deletion")) > 0) {
      await pool.query("update sluice.retention set next_slice_at = null");
      await deleteSlice(pool, 10_000);
    }
    const [laterRuns, laterTasks] = await blocksOfTwo();
    await reader.commit();
    expect([laterRuns! / runs!, laterTasks! / tasks!].filter((ratio) => ratio > 1.25)).toEqual([]);
  });
});
