import { beforeEach, describe, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { markMissing } from "#lib/db/versions.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns } from "#lib/testing/engine.ts";
import {
  droppedRuns,
  dueTimes,
  forgetSchedules,
  publishScheduled,
  scheduledRuns,
  setClock,
} from "#lib/testing/schedules.ts";
import { fireDueSchedules } from "./fire-schedules.ts";
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

describe("a definition that changes", () => {
  test("with the same times keeps its place; with others it begins anew, and never fires what is past", async () => {
    const { deps } = database;
    await minutely("edited", { catchup: "all" });
    await setClock(deps, at("10:02:30"));
    await publishScheduled(deps, "edited", { schedule: [{ cron: "* * * * *", jitter: "1s" }], catchup: "all" });
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "edited")).toEqual(["10:01", "10:02"]);
    await setClock(deps, at("10:05:30"));
    await publishScheduled(deps, "edited", { schedule: "0,5,10 * * * *", catchup: "all" });
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "edited")).toHaveLength(2);
    await fireAt("10:10:00.1");
    expect((await dueTimes(deps, "edited")).slice(2)).toEqual(["10:10"]);
    await publishScheduled(deps, "edited", { schedule: "* * * * *", catchup: "all" });
    await fireDueSchedules(deps);
    await fireAt("10:11:00.1");
    expect((await dueTimes(deps, "edited")).slice(3)).toEqual(["10:11"]);
  });

  const daily = (fields: Record<string, unknown>): Record<string, unknown> => ({
    schedule: "0 * * * *",
    catchup: "all",
    ...fields,
  });
  const hour = (from: string, to: string): object => ({ start: at(from).toISOString(), end: at(to).toISOString() });

  test("to start more never starts what is past: without its blackout, with a later end, with an earlier start", async () => {
    const { deps } = database;
    await setClock(deps, at("08:30:00"));
    const blackout = { windows: [hour("09:00:00", "12:00:00")] };
    await publishScheduled(deps, "blackout", daily({ schedule: { cron: "0 * * * *", blackout } }));
    await publishScheduled(deps, "ended", daily({ startDate: "2026-01-01", endDate: "2026-01-02" }));
    await publishScheduled(deps, "later", daily({ startDate: "2026-06-01" }));
    await fireDueSchedules(deps);
    await deps.pool.query("delete from sluice.dag_run");
    await setClock(deps, at("11:30:00"));
    await publishScheduled(deps, "blackout", daily({}));
    await publishScheduled(deps, "ended", daily({ startDate: "2026-01-01" }));
    await publishScheduled(deps, "later", daily({ startDate: "2026-01-01" }));
    await fireDueSchedules(deps);
    for (const id of ["blackout", "ended", "later"]) {
      expect(await dueTimes(deps, id), id).toEqual([]);
      expect(await droppedRuns(deps, id), id).toEqual([]);
    }
    await fireAt("12:00:00.1");
    for (const id of ["blackout", "ended", "later"]) expect(await dueTimes(deps, id), id).toEqual(["12:00"]);
  });

  test("leaves what was owed by it owed, and what was to start later starts at once", async () => {
    const { deps } = database;
    await setClock(deps, at("08:30:00"));
    const blackout = { windows: [hour("09:00:00", "12:00:00")], action: "delay" };
    await publishScheduled(deps, "owed-edit", daily({ schedule: { cron: "0 * * * *", blackout } }));
    await fireDueSchedules(deps);
    await setClock(deps, at("11:30:00"));
    await publishScheduled(deps, "owed-edit", daily({ schedule: { cron: "0 * * * *", jitter: "1s" } }));
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "owed-edit")).toEqual(["09:00", "10:00", "11:00"]);
  });

  test("to another time does not begin at the start date again", async () => {
    const { deps } = database;
    await setClock(deps, at("10:30:00"));
    const fields = { startDate: "2026-03-08", catchup: "all" };
    await publishScheduled(deps, "moved", { schedule: "0 3 * * *", ...fields });
    await fireDueSchedules(deps);
    expect(await scheduledRuns(deps, "moved")).toHaveLength(3);
    for (const schedule of ["0 4 * * *", " 0  4 * * *", { cron: "0 4 * * *" }, "0 3 * * *"]) {
      await publishScheduled(deps, "moved", { schedule, ...fields });
      await fireDueSchedules(deps);
    }
    expect(await scheduledRuns(deps, "moved")).toHaveLength(3);
    const { rows } = await deps.pool.query("select count(*)::int as n from sluice.schedule where dag_id = 'moved'");
    expect(rows).toEqual([{ n: 2 }]);
  });

  test("knows schedules of the same times by what they say, wherever they stand", async () => {
    const { deps } = database;
    await setClock(deps, new Date("2026-03-09T00:30:00Z"));
    const days = { mon: { weekdays: ["mon"] } };
    const only = { cron: "@daily", calendar: { only: ["mon"] } };
    const except = { cron: "@daily", calendar: { except: ["mon"] } };
    const publish = (schedule: object[]): Promise<void> =>
      publishScheduled(deps, "twins", { schedule, calendars: days, catchup: "all", limits: { maxActiveRuns: 99 } });
    await publish([only, except]);
    await fireDueSchedules(deps);
    await setClock(deps, new Date("2026-03-13T00:30:00Z"));
    await fireDueSchedules(deps);
    const before = await scheduledRuns(deps, "twins");
    expect(before).toHaveLength(4);
    for (const schedule of [[except, only], [except], [only, except]]) {
      await publish(schedule);
      await fireDueSchedules(deps);
    }
    expect(await scheduledRuns(deps, "twins")).toEqual(before);
  });

  test("whose file is gone fires nothing, and goes on where it was when it is back", async () => {
    const { deps } = database;
    await minutely("gone", { catchup: "all" });
    await inTx(deps.pool, (tx) => markMissing(tx, "gone", "gone.yaml"));
    expect(await fireAt("10:05:30")).toBeUndefined();
    await publishScheduled(deps, "gone", { schedule: "* * * * *", catchup: "all" });
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "gone")).toEqual(["10:01", "10:02", "10:03", "10:04", "10:05"]);
  });

  test("in a pause makes up for nothing of it, neither before the change nor after", async () => {
    const { deps } = database;
    await minutely("paused-edit", { catchup: "all" });
    await pauseDag(deps, "paused-edit", "anna");
    await setClock(deps, at("10:10:30"));
    await publishScheduled(deps, "paused-edit", { schedule: { cron: "* * * * *", jitter: "1s" }, catchup: "all" });
    await setClock(deps, at("10:20:30"));
    await unpauseDag(deps, "paused-edit");
    await fireDueSchedules(deps);
    expect(await scheduledRuns(deps, "paused-edit")).toEqual([]);
    expect((await droppedRuns(deps, "paused-edit")).map(({ reason, runs }) => [reason, runs])).toEqual([
      ["PAUSED", 20],
    ]);
    await fireAt("10:21:01");
    expect(await dueTimes(deps, "paused-edit")).toEqual(["10:21"]);
  });

  test("while the clock was ahead starts nothing before its time", async () => {
    const { deps } = database;
    await minutely("ahead-edit", { catchup: "all" });
    await setClock(deps, at("11:00:30"));
    await publishScheduled(deps, "ahead-edit", { schedule: { cron: "* * * * *", jitter: "1s" }, catchup: "all" });
    // Set right again; whatever has it looked at then.
    await setClock(deps, at("10:02:30"));
    await pauseDag(deps, "ahead-edit", "anna");
    await unpauseDag(deps, "ahead-edit", { catchesUp: true });
    await fireDueSchedules(deps);
    expect(await dueTimes(deps, "ahead-edit")).toEqual(["10:01", "10:02"]);
  });
});
