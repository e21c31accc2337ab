import { beforeEach, describe, expect, test } from "vitest";
import { checkInvariants } from "#lib/db/invariants.ts";
import { fireSchedules, lockSchedules, readDueSchedules, resetSchedules } from "#lib/db/schedules.ts";
import { inTx } from "#lib/db/tx.ts";
import { createPool } from "#lib/db/pool.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns } from "#lib/testing/engine.ts";
import { held, withoutLockTimeout } from "#lib/testing/races.ts";
import {
  droppedRuns,
  dueTimes,
  forgetSchedules,
  publishScheduled,
  scheduledRuns,
  setClock,
} from "#lib/testing/schedules.ts";
import { createEngineDeps } from "./deps.ts";
import { fireDueSchedules } from "./fire-schedules.ts";
import { createBackfill } from "./backfill/create.ts";
import { startAllQueuedRuns } from "./start-all-queued-runs.ts";
import { pauseDag, unpauseDag } from "./pause.ts";

const database = testDatabase();

beforeEach(async () => {
  await forgetSchedules(database.deps);
  await forgetRuns(database.deps);
});

const at = (time: string): Date => new Date(`2026-03-10T${time}Z`);

/** Publishes at 10:00:30 and has it looked at. */
async function minutely(id: string, fields: Record<string, unknown> = {}): Promise<void> {
  await setClock(database.deps, at("10:00:30"));
  await publishScheduled(database.deps, id, { schedule: "* * * * *", ...fields });
  await fireDueSchedules(database.deps);
}

async function fireAt(time: string): Promise<number | undefined> {
  await setClock(database.deps, at(time));
  return fireDueSchedules(database.deps);
}

describe("a schedule fires", () => {
  test("once for each instant after it was published, about the time since the one before", async () => {
    const { deps } = database;
    await minutely("plain");
    expect(await scheduledRuns(deps, "plain")).toEqual([]);
    const waitMs = await fireAt("10:01:00.005");
    expect(waitMs).toBeGreaterThan(58_000);
    expect(waitMs).toBeLessThan(60_000);
    await fireAt("10:01:01");
    await fireAt("10:02:00.001");
    const runs = await scheduledRuns(deps, "plain");
    expect(runs.map(({ logicalDate, start, end, state }) => ({ logicalDate, start, end, state }))).toEqual([
      { logicalDate: at("10:00:00"), start: at("10:00:00"), end: at("10:01:00"), state: "running" },
      { logicalDate: at("10:01:00"), start: at("10:01:00"), end: at("10:02:00"), state: "running" },
    ]);
    expect(await droppedRuns(deps, "plain")).toEqual([]);
  });

  test("at the instant to which it sleeps, and no moment before", async () => {
    await minutely("exact");
    const waitMs = (await fireAt("10:00:59.5"))!;
    expect(waitMs).toBeLessThanOrEqual(500);
    expect(await dueTimes(database.deps, "exact")).toEqual([]);
    await setClock(database.deps, new Date(at("10:00:59.5").getTime() + 500));
    await fireDueSchedules(database.deps);
    expect(await dueTimes(database.deps, "exact")).toEqual(["10:01"]);
  });

  test("for each of several schedules of a DAG, also when they are due at the same instant", async () => {
    await minutely("several", { schedule: ["* * * * *", { every: "1m" }, { every: "2m" }] });
    await fireAt("10:02:00.001");
    expect(await dueTimes(database.deps, "several")).toEqual(["10:02", "10:02", "10:02"]);
    const dropped = await droppedRuns(database.deps, "several");
    expect(dropped.map(({ reason, runs }) => [reason, runs])).toEqual([
      ["MISSED", 1],
      ["MISSED", 1],
    ]);
  });

  test("for many DAGs at one instant", async () => {
    const { deps } = database;
    await setClock(deps, at("10:00:30"));
    for (let n = 0; n < 120; n++) await publishScheduled(deps, `many-${n}`, { schedule: "* * * * *" });
    await fireDueSchedules(deps);
    await fireAt("10:01:00.001");
    const { rows } = await deps.pool.query(
      "select count(distinct dag_id)::int as dags, count(*)::int as runs from sluice.dag_run",
    );
    expect(rows).toEqual([{ dags: 120, runs: 120 }]);
  });
});

describe("time is the database's", () => {
  test("a clock that is set forth and back fires nothing twice", async () => {
    await minutely("jumps", { catchup: "all" });
    await fireAt("10:05:00.001");
    expect(await dueTimes(database.deps, "jumps")).toEqual(["10:01", "10:02", "10:03", "10:04", "10:05"]);
    for (const time of ["10:00:00", "10:03:00", "10:05:30"]) await fireAt(time);
    expect(await dueTimes(database.deps, "jumps")).toHaveLength(5);
    await fireAt("10:06:00.001");
    expect((await dueTimes(database.deps, "jumps")).slice(5)).toEqual(["10:06"]);
  });
});

test("a schedule that a wrong clock has taken far ahead is found, and goes on from now when it is reset", async () => {
  const { deps } = database;
  await minutely("ahead");
  await setClock(deps, new Date("2027-03-10T10:00:30Z"));
  await fireDueSchedules(deps);
  await setClock(deps, at("10:10:30"));
  expect(await fireDueSchedules(deps)).toBeGreaterThan(86_400_000);
  const found = (await inTx(deps.pool, checkInvariants)).find(({ id }) => id === "schedule-time");
  expect(found!.broken).toMatchObject([{ dag: "ahead" }]);
  expect(await inTx(deps.pool, (tx) => resetSchedules(tx, "ahead"))).toBe(1);
  const before = (await dueTimes(deps, "ahead")).length;
  await fireDueSchedules(deps);
  await fireAt("10:11:00.1");
  expect((await scheduledRuns(deps, "ahead")).map(({ end }) => end)).toContainEqual(at("10:11:00"));
  expect((await dueTimes(deps, "ahead")).length).toBe(before + 1);
});

describe("what was missed", () => {
  const afterAnHour = async (id: string, fields: Record<string, unknown>): Promise<[number, unknown[]]> => {
    await minutely(id, { limits: { maxActiveRuns: 1_000 }, ...fields });
    await fireAt("11:00:20");
    return [(await dueTimes(database.deps, id)).length, await droppedRuns(database.deps, id)];
  };

  test("is left out, but for the latest, or made up for, as the DAG's policy says", async () => {
    const missed = [{ reason: "MISSED", runs: 59, firstDue: at("10:01:00"), lastDue: at("10:59:00") }];
    expect(await afterAnHour("none", { catchup: "none" })).toEqual([1, missed]);
    expect(await dueTimes(database.deps, "none")).toEqual(["11:00"]);
    expect(await afterAnHour("latest", {})).toEqual([1, missed]);
    expect(await afterAnHour("all", { catchup: "all" })).toEqual([60, []]);
    expect(await afterAnHour("some", { catchup: { policy: "all", max: 7 } })).toEqual([
      7,
      [{ reason: "TOO_MANY", runs: 53, firstDue: at("10:01:00"), lastDue: at("10:53:00") }],
    ]);
  });

  test("a new schedule owes what is since its start date under `all` only", async () => {
    const startDate = "2026-03-08";
    await setClock(database.deps, at("10:00:30"));
    for (const catchup of ["none", "latest", "all"])
      await publishScheduled(database.deps, `since-${catchup}`, { schedule: "@daily", startDate, catchup });
    await fireDueSchedules(database.deps);
    expect(await scheduledRuns(database.deps, "since-none")).toEqual([]);
    expect(await scheduledRuns(database.deps, "since-latest")).toEqual([]);
    expect((await scheduledRuns(database.deps, "since-all")).map(({ end }) => end.toISOString().slice(0, 10))).toEqual([
      "2026-03-08",
      "2026-03-09",
      "2026-03-10",
    ]);
  });

  test("a DAG that is slower than its schedule has one run waiting under `latest`, and all of them under `all`", async () => {
    const { deps } = database;
    await minutely("slow", { limits: { maxActiveRuns: 1 } });
    await minutely("slow-all", { limits: { maxActiveRuns: 1 }, catchup: "all" });
    for (const time of ["10:01:00.1", "10:02:00.1", "10:03:00.1", "10:04:00.1"]) await fireAt(time);
    expect((await scheduledRuns(deps, "slow")).map(({ state }) => state)).toEqual(["running", "queued"]);
    expect(await dueTimes(deps, "slow-all")).toEqual(["10:01", "10:02", "10:03", "10:04"]);
    await deps.pool.query(
      "update sluice.dag_run set state = 'success', ended_at = sluice.clock() where dag_id = 'slow' and state = 'running'",
    );
    await fireAt("10:04:10");
    expect(await dueTimes(deps, "slow")).toEqual(["10:01", "10:02", "10:04"]);
    expect((await droppedRuns(deps, "slow")).map(({ runs }) => runs)).toEqual([1]);
  });
});

describe("a pause", () => {
  test("fires nothing, and going on makes up for nothing", async () => {
    const { deps } = database;
    await minutely("paused", { catchup: "all" });
    await pauseDag(deps, "paused", "anna");
    expect(await fireAt("10:30:30")).toBeUndefined();
    await unpauseDag(deps, "paused");
    await fireDueSchedules(deps);
    expect(await scheduledRuns(deps, "paused")).toEqual([]);
    expect(await droppedRuns(deps, "paused")).toEqual([
      { reason: "PAUSED", runs: 30, firstDue: at("10:01:00"), lastDue: at("10:30:00") },
    ]);
    await fireAt("10:31:00.1");
    expect(await dueTimes(deps, "paused")).toEqual(["10:31"]);
  });

  test("is made up for, by the DAG's policy, when that is asked for", async () => {
    const { deps } = database;
    for (const catchup of ["all", "latest"] as const) {
      await minutely(`asked-${catchup}`, { catchup, limits: { maxActiveRuns: 100 } });
      await pauseDag(deps, `asked-${catchup}`, "anna");
    }
    await setClock(deps, at("10:30:30"));
    for (const catchup of ["all", "latest"]) await unpauseDag(deps, `asked-${catchup}`, { catchesUp: true });
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "asked-all")).toHaveLength(30);
    expect(await dueTimes(deps, "asked-latest")).toEqual(["10:30"]);
  });

  test("leaves what was owed before it", async () => {
    const { deps } = database;
    await minutely("owed", { catchup: "all" });
    await setClock(deps, at("10:03:30"));
    await pauseDag(deps, "owed", "anna");
    await setClock(deps, at("10:10:30"));
    await unpauseDag(deps, "owed");
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "owed")).toEqual(["10:01", "10:02", "10:03"]);
    expect((await droppedRuns(deps, "owed")).map(({ runs }) => runs)).toEqual([7]);
  });
});

test("a date that a backfill has run in the pause is not run again when the pause is made up for", async () => {
  const { deps } = database;
  await minutely("filled", { catchup: "all", limits: { maxActiveRuns: 100 } });
  await pauseDag(deps, "filled", "anna");
  await setClock(deps, at("10:05:30"));
  await createBackfill(deps, {
    dagId: "filled",
    start: at("10:02:00").toISOString(),
    end: at("10:03:00").toISOString(),
    reprocess: "missing",
    order: "asc",
    maxActive: 4,
    priority: "low",
    conf: {},
    actor: "anna",
  });
  await unpauseDag(deps, "filled", { catchesUp: true });
  await fireDueSchedules(deps);
  expect(await dueTimes(deps, "filled")).toEqual(["10:01", "10:02", "10:05"]);
});

test("a DAG that somebody has at hand holds up neither the others nor the start of their runs", async () => {
  const { deps } = database;
  await setClock(deps, at("10:00:30"));
  for (const id of ["taken", "free"]) await publishScheduled(deps, id, { schedule: "* * * * *" });
  await fireDueSchedules(deps);
  await setClock(deps, at("10:01:00.1"));
  await withoutLockTimeout(deps);
  const other = await held(deps, (tx) => tx.query("select from sluice.dag where id = 'taken' for no key update"));
  await fireDueSchedules(deps);
  await startAllQueuedRuns(deps);
  const states = async (id: string): Promise<string[]> => (await scheduledRuns(deps, id)).map(({ state }) => state);
  expect([await states("taken"), await states("free")]).toEqual([["queued"], ["running"]]);
  await other.commit();
  await startAllQueuedRuns(deps);
  expect(await states("taken")).toEqual(["running"]);
});

describe("several schedulers", () => {
  test("make each run once, however many look at once", async () => {
    const { deps, url } = database;
    await setClock(deps, at("10:00:30"));
    for (let n = 0; n < 20; n++)
      await publishScheduled(deps, `shared-${n}`, {
        schedule: "* * * * *",
        catchup: "all",
        limits: { maxActiveRuns: 99 },
      });
    await fireDueSchedules(deps);
    const pool = createPool({ url, max: 8, name: "other" });
    try {
      const other = createEngineDeps({ ...deps, pool });
      for (const time of ["10:05:00.1", "10:06:00.1", "10:07:00.1"]) {
        await setClock(deps, at(time));
        await setClock(other, at(time));
        await Promise.all(Array.from({ length: 8 }, (_, n) => fireDueSchedules(n % 2 === 0 ? deps : other)));
        await fireDueSchedules(deps);
      }
      for (let n = 0; n < 20; n++)
        expect(await dueTimes(deps, `shared-${n}`)).toEqual([
          "10:01",
          "10:02",
          "10:03",
          "10:04",
          "10:05",
          "10:06",
          "10:07",
        ]);
    } finally {
      await pool.end();
    }
  });

  test("pass over what another has at hand, and come back soon", async () => {
    const { deps } = database;
    await minutely("held");
    await setClock(deps, at("10:01:00.1"));
    const other = await held(deps, (tx) => lockSchedules(tx, "held"));
    expect(await fireDueSchedules(deps)).toBeLessThanOrEqual(1_000);
    expect(await dueTimes(deps, "held")).toEqual([]);
    await other.commit();
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "held")).toEqual(["10:01"]);
  });

  test("do nothing with what they read before it changed", async () => {
    const { deps } = database;
    await minutely("stale");
    await setClock(deps, at("10:01:00.1"));
    const { due, now } = await readDueSchedules(deps.pool, 10);
    await pauseDag(deps, "stale", "anna");
    const order = {
      schedule: due[0]!,
      params: {},
      closes: false,
      decision: { fires: [], dropped: [], state: { ...due[0]!.state, position: now }, next: undefined, isAll: true },
    };
    expect(await fireSchedules(deps.pool, [order], "test")).toEqual({ moved: [], runs: [] });
  });
});
