import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { listQuarantine, retryQuarantined } from "#lib/db/quarantine.ts";
import { overdueSchedules } from "#lib/db/schedules.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  failed,
  forgetRuns,
  moveClock,
  publish,
  runState,
  start,
  states,
  worker,
} from "#lib/testing/engine.ts";
import { dueTimes, forgetSchedules, publishScheduled, setClock } from "#lib/testing/schedules.ts";
import { admit, admitLeft } from "./admit.ts";
import { dispatchCallbacks } from "./dispatch-callbacks.ts";
import { finish } from "./finish.ts";
import { fireDueSchedules } from "./fire-schedules.ts";
import { isolating } from "./quarantine.ts";
import { startAllQueuedRuns } from "./start-all-queued-runs.ts";
import { sweep, takeBackExpired } from "./sweep.ts";

const database = testDatabase();

beforeEach(async () => {
  await forgetSchedules(database.deps);
  await forgetRuns(database.deps);
});

afterEach(heal);

/** From now on, a row of the table for which the condition holds cannot be written. */
async function poison(table: string, operation: string, condition: string): Promise<void> {
  await database.pool.query(`
    create or replace function sluice.poison() returns trigger language plpgsql as $$
    begin
      if ${condition} then raise exception 'poisoned %', tg_table_name; end if;
      return coalesce(new, old);
    end $$`);
  await database.pool.query(
    `create trigger poison before ${operation} on ${table} for each row execute function sluice.poison()`,
  );
}

async function heal(): Promise<void> {
  await database.pool.query("drop function if exists sluice.poison cascade");
}

const inQuarantine = async (): Promise<string[]> =>
  (await listQuarantine(database.pool)).map(({ duty, key }) => `${duty} ${key}`);

describe("a set of which one breaks the statement", () => {
  const tried: number[][] = [];
  const work =
    (bad: number) =>
    async (items: readonly number[]): Promise<void> => {
      tried.push([...items]);
      if (items.includes(bad)) await database.pool.query("select 1 / 0");
    };
  const go = (bad: number): Promise<void> =>
    isolating(database.deps, "runs", [1, 2, 3, 4, 5, 6, 7, 8], String, work(bad));

  beforeEach(() => void tried.splice(0));

  test("is done in halves but for that one, which is left out, and later tried again", async () => {
    await go(3);
    expect(tried.filter((items) => !items.includes(3)).flat()).toEqual([1, 2, 4, 5, 6, 7, 8]);
    expect(tried.length).toBeLessThanOrEqual(7);
    expect(await listQuarantine(database.pool)).toMatchObject([
      { duty: "runs", key: "3", error: "division by zero", failures: 1 },
    ]);
    tried.splice(0);
    await go(3);
    expect(tried).toEqual([[1, 2, 4, 5, 6, 7, 8]]);
    await moveClock(database.deps, "61 s");
    await go(3);
    const [again] = await listQuarantine(database.pool);
    expect(again!.failures).toBe(2);
    expect((again!.retryAt.getTime() - again!.since.getTime()) / 1_000).toBeGreaterThan(175);
    await moveClock(database.deps, "10 min");
    tried.splice(0);
    await go(99);
    expect(tried).toEqual([[1, 2, 3, 4, 5, 6, 7, 8]]);
    expect(await inQuarantine()).toEqual([]);
  });

  test("is blamed for nothing that is no fault of a row: a right that is missing, or what fails for all alike", async () => {
    const withoutRight = async (): Promise<void> =>
      void (await database.pool.query("select * from sluice.no_such_table"));
    await expect(isolating(database.deps, "runs", [1, 2], String, withoutRight)).rejects.toThrow("no_such_table");
    const alike = async (): Promise<void> => void (await database.pool.query("select 1 / 0"));
    await expect(isolating(database.deps, "runs", [1, 2, 3], String, alike)).rejects.toThrow("division by zero");
    expect(await inQuarantine()).toEqual([]);
  });

  test("is not blamed for a database that is away", async () => {
    const away = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    const fails = isolating(database.deps, "runs", [1, 2], String, () => Promise.reject(away));
    await expect(fails).rejects.toBe(away);
    expect(await inQuarantine()).toEqual([]);
  });
});

describe("one row that breaks a duty", () => {
  test("of firing: the other schedules fire, it does itself when it can, and is no alarm meanwhile", async () => {
    const { deps } = database;
    await setClock(deps, new Date("2026-03-10T10:00:30Z"));
    for (const id of ["bad", "good", "garbled"])
      await publishScheduled(deps, id, { schedule: "* * * * *", catchup: "all" });
    await fireDueSchedules(deps);
    await poison("sluice.dag_run", "insert", "new.dag_id = 'bad'");
    const { rows } = await deps.pool.query<{ id: string; definition: string }>(
      `update sluice.schedule set definition = jsonb_set(definition, '{spec,cron}', '"at noon"') where dag_id = 'garbled' returning id::text`,
    );
    await setClock(deps, new Date("2026-03-10T10:01:30Z"));
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "good")).toEqual(["10:01"]);
    expect(await inQuarantine()).toHaveLength(2);
    expect(await inQuarantine()).toContain(`fire ${rows[0]!.id}`);
    await setClock(deps, new Date("2026-03-10T10:02:00Z"));
    expect(await overdueSchedules(deps.pool, 20_000)).toEqual({ count: 0, oldest: undefined });
    await heal();
    await retryQuarantined(deps.pool);
    await setClock(deps, new Date("2026-03-10T10:02:30Z"));
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "bad")).toEqual(["10:01", "10:02"]);
    expect(await inQuarantine()).toEqual([`fire ${rows[0]!.id}`]);
  });

  test("of starting queued runs: other DAGs' runs start", async () => {
    const { deps } = database;
    for (const id of ["stuck", "free"]) {
      await publish(deps, id, { a: [] });
      await deps.pool.query(
        `insert into sluice.dag_run (id, keep_days, dag_id, version_id, state, trigger_kind, logical_date, interval_start, interval_end, actor)
         select sluice.new_run_id(30), 30, id, current_version_id, 'queued', 'manual', now(), now(), now(), 'test' from sluice.dag where id = $1`,
        [id],
      );
    }
    await poison(
      "sluice.run_progress",
      "insert",
      "(select dag_id = 'stuck' from sluice.dag_run where id = new.run_id)",
    );
    await startAllQueuedRuns(deps);
    const { rows } = await deps.pool.query("select dag_id, state from sluice.dag_run order by dag_id");
    expect(rows).toEqual([
      { dag_id: "free", state: "running" },
      { dag_id: "stuck", state: "queued" },
    ]);
    expect(await inQuarantine()).toEqual(["runs stuck"]);
  });

  test("of the sweep: other lost attempts are taken back, also with idle connections to try the parts on", async () => {
    const { deps } = database;
    await publish(deps, "lost", { a: [], b: ["a"] });
    for (let round = 0; round < 6; round++) {
      await forgetRuns(deps);
      const w = await worker(deps, "w");
      const runs: string[] = [];
      for (let n = 0; n < 8; n++) runs.push(await start(deps, "lost"));
      expect(await claimAll(deps, w)).toHaveLength(runs.length);
      await moveClock(deps, "1 h");
      const bad = runs[round]!;
      await poison("sluice.live_attempt", "delete", `old.task_instance_id >> 20 = ${bad}`);
      await Promise.all(runs.map(() => deps.pool.query("select pg_sleep(0.005)")));
      await takeBackExpired(deps, 0);
      for (const run of runs) expect((await states(deps, run))[0] === "running").toBe(run === bad);
      expect(await inQuarantine()).toEqual([`sweep ${BigInt(bad) << 20n}`]);
      await heal();
    }
  });

  test("of settling: a run that cannot be settled keeps no other from it", async () => {
    const { deps } = database;
    await publish(deps, "sad", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runs = [await start(deps, "sad"), await start(deps, "sad")];
    await poison("sluice.task_instance", "update", "new.state = 'upstream_failed'");
    // The worker's own settling fails, and is left to a scheduler.
    await finish(deps, (await claimAll(deps, w)).map(failed), "worker:w").catch(() => undefined);
    await heal();
    await poison("sluice.task_instance", "update", `new.state = 'upstream_failed' and new.run_id = ${runs[0]!}`);
    await sweep(deps);
    expect([await runState(deps, runs[0]!), await runState(deps, runs[1]!)]).toEqual(["running", "failed"]);
    expect(await inQuarantine()).toEqual([`settle ${runs[0]!}`]);
    await heal();
    await retryQuarantined(deps.pool, "settle", runs[0]);
    await sweep(deps);
    expect(await runState(deps, runs[0]!)).toBe("failed");
    expect(await inQuarantine()).toEqual([]);
  });

  test("of admission: who made the task ready is not troubled", async () => {
    const { deps } = database;
    await publish(deps, "refused", { a: [] });
    await poison("sluice.live_attempt", "insert", "true");
    await worker(deps, "w");
    const runId = await start(deps, "refused");
    expect(await admit(deps)).toBe(0);
    expect(await inQuarantine()).toEqual([`admit ${BigInt(runId) << 20n}`]);
    await heal();
    await retryQuarantined(deps.pool);
    await admitLeft(deps);
    expect(await states(deps, runId)).toEqual(["queued"]);
    expect(await inQuarantine()).toEqual([]);
  });

  test("of callbacks: the others are handed over", async () => {
    const { deps } = database;
    await publish(deps, "told", { a: [] });
    const runId = await start(deps, "told");
    const { rows } = await deps.pool.query<{ id: string }>(
      "insert into sluice.callback (run_id, event) select $1, 'success' from generate_series(1, 5) returning id::text",
      [runId],
    );
    await poison("sluice.callback", "delete", `old.id = ${rows[2]!.id}`);
    await dispatchCallbacks(deps);
    const left = await deps.pool.query<{ id: string }>("select id::text from sluice.callback");
    expect(left.rows).toEqual([{ id: rows[2]!.id }]);
    expect(await inQuarantine()).toEqual([`callbacks ${rows[2]!.id}`]);
  });
});
