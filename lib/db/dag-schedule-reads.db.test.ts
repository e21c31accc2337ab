import { beforeAll, beforeEach, expect, test } from "vitest";
import { DagDetail } from "#lib/contract/dags.ts";
import { SchedulePreview } from "#lib/contract/schedules.ts";
import { fireDueSchedules } from "#lib/engine/fire-schedules.ts";
import { pauseDag, unpauseDag } from "#lib/engine/pause.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns } from "#lib/testing/engine.ts";
import { forgetSchedules, publishScheduled, setClock } from "#lib/testing/schedules.ts";
import { findDag, listDags } from "./dag-reads.ts";
import { previewSchedules } from "./dag-schedule-reads.ts";
import { createPrisma, type PrismaClient } from "./prisma.ts";

const database = testDatabase();
let prisma: PrismaClient;

beforeAll(() => {
  prisma = createPrisma(database.pool);
  return () => prisma.$disconnect();
});

beforeEach(async () => {
  await forgetSchedules(database.deps);
  await forgetRuns(database.deps);
});

const at = (time: string): Date => new Date(`2026-03-10T${time}Z`);

async function publishAt(time: string, id: string, fields: Record<string, unknown>): Promise<void> {
  await setClock(database.deps, at(time));
  await publishScheduled(database.deps, id, fields);
  await fireDueSchedules(database.deps);
}

async function fireAt(time: string): Promise<void> {
  await setClock(database.deps, at(time));
  await fireDueSchedules(database.deps);
}

/** As the API answers it: a document that its contract does not know fails. */
async function dagOf(id: string): Promise<DagDetail> {
  return DagDetail.parse(await findDag(prisma, database.pool, id));
}

const berlin = { schedule: ["0 9 * * 1-5", { every: "6h", jitter: "10m" }], timezone: "Europe/Berlin" };

test("a DAG has its schedules in words, and the next run of each", async () => {
  await publishAt("10:00:30", "worded", berlin);
  const { schedules, schedule, paused, dueInPause } = await dagOf("worded");
  expect(schedules).toMatchObject([
    {
      text: "0 9 * * 1-5",
      words: "At 09:00, Monday through Friday, in Europe/Berlin",
      timezone: "Europe/Berlin",
      endDate: null,
      lastDue: null,
      dropped: [],
      nextRun: {
        due: "2026-03-11T08:00:00.000Z",
        at: "2026-03-11T08:00:00.000Z",
        logicalDate: "2026-03-10T08:00:00.000Z",
        local: "2026-03-11T09:00:00+01:00",
        timezone: "Europe/Berlin",
      },
    },
    { text: "every 6h", nextRun: { due: "2026-03-10T12:00:00.000Z" } },
  ]);
  expect(Date.parse(schedules[1]!.nextRun!.at)).toBeGreaterThan(at("12:00:00").getTime());
  expect(schedule).toMatchObject({ count: 2, text: "0 9 * * 1-5", dropped: 0, nextRun: schedules[1]!.nextRun });
  expect({ paused, dueInPause }).toEqual({ paused: false, dueInPause: null });
});

test("the list has each DAG's first schedule and its first next run, and null where there is none", async () => {
  await publishAt("10:00:30", "list-a", berlin);
  await publishAt("10:00:30", "list-b", {});
  await publishAt("10:00:30", "list-c", { schedule: "@hourly", endDate: "2026-03-10T10:00:00Z" });
  const { items } = await listDags(prisma, database.pool, { limit: 200 });
  const seen = items.filter(({ id }) => id.startsWith("list-")).map(({ schedule }) => schedule);
  expect(seen).toMatchObject([
    {
      count: 2,
      words: "At 09:00, Monday through Friday, in Europe/Berlin",
      nextRun: { due: at("12:00:00").toISOString() },
    },
    {},
    { count: 1, words: "Every hour, in UTC", nextRun: null },
  ]);
  expect(seen[1]).toBeNull();
  expect((await dagOf("list-c")).schedules).toMatchObject([{ endDate: at("10:00:00").toISOString(), nextRun: null }]);
});

test("what was dropped is told by reason; what was due in a pause does not count as a loss", async () => {
  await publishAt("10:00:30", "lossy", { schedule: "* * * * *" });
  await fireAt("11:00:20");
  await pauseDag(database.deps, "lossy", "anna");
  await setClock(database.deps, at("11:30:20"));
  await unpauseDag(database.deps, "lossy");
  await fireDueSchedules(database.deps);
  const { schedules, schedule } = await dagOf("lossy");
  expect(schedules[0]!.dropped).toEqual([
    { reason: "MISSED", runs: 59, firstDue: at("10:01:00").toISOString(), lastDue: at("10:59:00").toISOString() },
    { reason: "PAUSED", runs: 30, firstDue: at("11:01:00").toISOString(), lastDue: at("11:30:00").toISOString() },
  ]);
  expect(schedule!.dropped).toBe(59);
  await database.pool.query("update sluice.dropped_runs set day = sluice.today() - 30");
  expect((await dagOf("lossy")).schedules[0]!.dropped).toEqual([]);
  expect((await dagOf("lossy")).schedule!.dropped).toBe(0);
});

test("a paused DAG says since when and by whom, has no next run, and counts what was due", async () => {
  await publishAt("10:00:30", "halted", {
    schedule: ["* * * * *", { every: "10m" }],
    catchup: { policy: "all", max: 5 },
  });
  await pauseDag(database.deps, "halted", "anna");
  await setClock(database.deps, at("10:30:20"));
  const { paused, pausedBy, pausedAt, schedules, schedule, dueInPause } = await dagOf("halted");
  expect({ paused, pausedBy, at: pausedAt!.slice(0, 19) }).toEqual({
    paused: true,
    pausedBy: "anna",
    at: "2026-03-10T10:00:30",
  });
  expect([schedule!.nextRun, ...schedules.map(({ nextRun }) => nextRun)]).toEqual([null, null, null]);
  expect(dueInPause).toEqual({ runs: 33, madeUp: 8 });
  await unpauseDag(database.deps, "halted", { catchesUp: true });
  await fireDueSchedules(database.deps);
  const { rows } = await database.pool.query(
    "select count(*)::int as runs from sluice.dag_run where dag_id = 'halted'",
  );
  expect(rows).toEqual([{ runs: 8 }]);
  expect((await dagOf("halted")).dueInPause).toBeNull();
});

test("a run that no scheduler has come to is still the next one", async () => {
  await publishAt("10:00:30", "late", { schedule: "* * * * *" });
  await setClock(database.deps, at("10:20:00.5"));
  expect((await dagOf("late")).schedules[0]!.nextRun).toMatchObject({ at: at("10:01:00").toISOString() });
});

test("the preview has the next runs of all schedules with their notes, in zone and UTC, also in a pause", async () => {
  await setClock(database.deps, new Date("2026-03-27T12:00:00Z"));
  await publishScheduled(database.deps, "shown", {
    timezone: "Europe/Berlin",
    calendars: { holidays: { dates: ["2026-03-30 Spring fair"] } },
    schedule: [{ cron: "30 2 * * *", calendar: { except: ["holidays"] } }, "0 12 * * sun"],
  });
  await pauseDag(database.deps, "shown", "anna");
  const { now, items } = SchedulePreview.parse(await previewSchedules(database.pool, "shown", 4));
  expect(now.slice(0, 16)).toBe("2026-03-27T12:00");
  expect(items.map(({ at: start, local, notes }) => [start, local, notes.map(({ kind }) => kind)])).toEqual([
    ["2026-03-28T01:30:00.000Z", "2026-03-28T02:30:00+01:00", []],
    ["2026-03-29T01:00:00.000Z", "2026-03-29T03:00:00+02:00", ["gap"]],
    ["2026-03-29T10:00:00.000Z", "2026-03-29T12:00:00+02:00", []],
    ["2026-03-31T00:30:00.000Z", "2026-03-31T02:30:00+02:00", ["skipped"]],
  ]);
  const [first, second] = (await dagOf("shown")).schedules;
  expect(items.map(({ scheduleId }) => scheduleId)).toEqual([first!.id, first!.id, second!.id, first!.id]);
  expect((await previewSchedules(database.pool, "shown", 100)).items).toHaveLength(100);
});
