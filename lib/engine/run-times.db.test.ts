import { beforeEach, expect, test } from "vitest";
import { findRun } from "#lib/db/run-reads.ts";
import type { RunTimes } from "#lib/domain/run-times.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, worker } from "#lib/testing/engine.ts";
import { forgetSchedules, publishScheduled, scheduledRuns, setClock } from "#lib/testing/schedules.ts";
import { fireDueSchedules } from "./fire-schedules.ts";
import { startRun } from "./start-run.ts";

const database = testDatabase();

beforeEach(async () => {
  await forgetSchedules(database.deps);
  await forgetRuns(database.deps);
});

/** Ten years off every other clock: an interval by one of those would be another. */
const NOW = "2036-03-30T12:00:00Z";

async function triggered(dagId: string, logicalDate?: string, key?: string): Promise<string> {
  const { runId } = await startRun(database.deps, {
    dagId,
    conf: {},
    logicalDate: logicalDate === undefined ? undefined : new Date(logicalDate),
    idempotencyKey: key,
    triggerKind: "manual",
    actor: "test",
  });
  return runId;
}

async function timesOf(runId: string): Promise<RunTimes<string>> {
  const { logicalDate, intervalStart, intervalEnd } = (await findRun(database.deps.pool, runId))!;
  return { logicalDate, intervalStart, intervalEnd };
}

/** The texts of what is sent to Postgres while `work` goes on. */
async function statements(work: () => Promise<unknown>): Promise<string[]> {
  const { pool } = database.deps;
  const sent: string[] = [];
  const query = pool.query.bind(pool) as (...given: unknown[]) => unknown;
  pool.query = ((...given: unknown[]) => {
    const [first] = given as [string | { text: string }];
    sent.push(typeof first === "string" ? first : first.text);
    return query(...given);
  }) as typeof pool.query;
  try {
    await work();
  } finally {
    pool.query = query as typeof pool.query;
  }
  return sent;
}

test("a run of a DAG with a schedule is about the last interval by the database's clock", async () => {
  await setClock(database.deps, new Date(NOW));
  await publishScheduled(database.deps, "nightly", { schedule: "30 2 * * *", timezone: "Europe/Berlin" });
  const run = await timesOf(await triggered("nightly"));
  // 02:30 does not exist on that day.
  expect(run).toMatchObject({ intervalStart: "2036-03-29T01:30:00.000Z", intervalEnd: "2036-03-30T01:00:00.000Z" });
  expect(run.logicalDate.slice(0, 16)).toBe("2036-03-30T12:00");
});

test("a run that is given a logical date is about the interval that begins there, or about no time", async () => {
  await setClock(database.deps, new Date(NOW));
  await publishScheduled(database.deps, "hourly", { schedule: "@hourly" });
  expect(await timesOf(await triggered("hourly", "2036-03-01T05:00:00Z"))).toEqual({
    logicalDate: "2036-03-01T05:00:00.000Z",
    intervalStart: "2036-03-01T05:00:00.000Z",
    intervalEnd: "2036-03-01T06:00:00.000Z",
  });
  const odd = "2036-03-01T05:10:00.000Z";
  expect(await timesOf(await triggered("hourly", odd))).toEqual({
    logicalDate: odd,
    intervalStart: odd,
    intervalEnd: odd,
  });
});

test("a new version's schedule counts at once, also with a key, and a repeated key gives the first run", async () => {
  await setClock(database.deps, new Date(NOW));
  await publishScheduled(database.deps, "changed", { schedule: "@hourly" });
  expect((await timesOf(await triggered("changed"))).intervalStart).toBe("2036-03-30T11:00:00.000Z");
  await publishScheduled(database.deps, "changed", { schedule: "@daily" });
  const runId = await triggered("changed", undefined, "k");
  expect((await timesOf(runId)).intervalStart).toBe("2036-03-29T00:00:00.000Z");
  await publishScheduled(database.deps, "changed", {});
  expect(await triggered("changed", undefined, "k")).toBe(runId);
  const { logicalDate, intervalStart, intervalEnd } = await timesOf(await triggered("changed"));
  expect([intervalStart, intervalEnd]).toEqual([logicalDate, logicalDate]);
});

test("a DAG without schedules pays nothing for it, and one with them a look at the clock", async () => {
  await setClock(database.deps, new Date(NOW));
  await publishScheduled(database.deps, "free", {});
  await publishScheduled(database.deps, "bound", { schedule: "@hourly" });
  await Promise.all([triggered("free"), triggered("bound")]);
  const isLook = (text: string): boolean => text.includes("select sluice.clock() as now");
  const free = await statements(() => triggered("free"));
  const bound = await statements(() => triggered("bound"));
  const given = await statements(() => triggered("bound", "2036-03-01T05:00:00Z"));
  expect(free.filter(isLook)).toEqual([]);
  expect(bound.filter(isLook)).toHaveLength(1);
  expect(given.filter(isLook)).toEqual([]);
  // What an earlier run is announced with may come in between.
  const own = (texts: readonly string[]): string[] => texts.filter((text) => !text.includes("pg_notify"));
  expect(own(free)[0]).toContain("sluice.trigger_run");
  expect(own(bound)[1]).toContain("sluice.trigger_run");
});

test("a run that a schedule made has its interval and schedule, and a worker gets them with the task", async () => {
  const { deps } = database;
  await setClock(deps, new Date("2036-03-30T12:00:30Z"));
  const tasks = [{ id: "only", type: "bash", config: { command: "true" } }];
  await publishScheduled(deps, "minutely", { schedule: "* * * * *", tasks });
  await fireDueSchedules(deps);
  await setClock(deps, new Date("2036-03-30T12:01:01Z"));
  const w = await worker(deps, "w");
  await fireDueSchedules(deps);
  const [made] = await scheduledRuns(deps, "minutely");
  const [claimed] = await claimAll(deps, w);
  expect(claimed).toMatchObject({
    logicalDate: new Date("2036-03-30T12:00:00Z"),
    intervalStart: new Date("2036-03-30T12:00:00Z"),
    intervalEnd: new Date("2036-03-30T12:01:00Z"),
  });
  expect(await findRun(deps.pool, claimed!.runId)).toMatchObject({
    scheduleId: made!.scheduleId,
    backfillId: null,
    logicalDate: "2036-03-30T12:00:00.000Z",
    intervalStart: "2036-03-30T12:00:00.000Z",
    intervalEnd: "2036-03-30T12:01:00.000Z",
  });
});
