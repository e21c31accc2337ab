import { beforeEach, describe, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { countPlan } from "#lib/domain/backfill/plan.ts";
import {
  backfill,
  counts,
  forgetBackfills,
  january,
  nothingBroken,
  publishDaily,
  runsOf,
} from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, forgetRuns, moveClock, success, worker } from "#lib/testing/engine.ts";
import { held, waitsForLock } from "#lib/testing/races.ts";
import { scheduledRuns, setClock } from "#lib/testing/schedules.ts";
import { lockSchedules } from "#lib/db/schedules.ts";
import { finish } from "../finish.ts";
import { fireDueSchedules } from "../fire-schedules.ts";
import { cancelBackfill } from "./cancel.ts";
import { createBackfill } from "./create.ts";
import { prepareBackfill, previewBackfill } from "./prepare.ts";

const database = testDatabase();

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
});

/** The first five days, of which the first succeeded, the second failed, the third was cancelled, and the fourth goes on. */
async function mixed(id: string): Promise<void> {
  const { deps } = database;
  await publishDaily(deps, id);
  const w = await worker(deps, "w");
  const third = await backfill(deps, january(id, { start: "2024-01-03", end: "2024-01-03" }));
  await cancelBackfill(deps, third, "anna");
  await backfill(deps, january(id, { end: "2024-01-02" }));
  const [first, second] = await claimAll(deps, w);
  await finish(deps, [success(first!), failed(second!)], "worker:w");
  await backfill(deps, january(id, { start: "2024-01-04", end: "2024-01-04" }));
}

describe("what is there already", () => {
  test.each([
    ["missing", "05"],
    ["failed", "02 03 05"],
    ["all", "01 02 03 05"],
  ] as const)("under %s, %s get a run", async (reprocess, days) => {
    const { deps } = database;
    await mixed(`mixed-${reprocess}`);
    const id = await backfill(deps, january(`mixed-${reprocess}`, { end: "2024-01-05", reprocess }));
    expect((await runsOf(deps, id)).map(({ day }) => day.slice(3)).join(" ")).toBe(days);
  });

  test("a preview says what becomes of each date, and how long runs took, and makes nothing", async () => {
    const { deps, pool } = database;
    await mixed("previewed");
    await pool.query("update sluice.dag_run set started_at = ended_at - interval '90 s' where state = 'success'");
    const found = await previewBackfill(pool, january("previewed", { end: "2024-01-05", reprocess: "failed" }));
    expect(found.plan.map(({ action, latest }) => [latest?.state, action])).toEqual([
      ["success", "keep"],
      ["failed", "rerun"],
      ["cancelled", "rerun"],
      ["running", "open"],
      [undefined, "create"],
    ]);
    expect(found.history).toEqual({ runs: 1, medianMs: 90_000, p90Ms: 90_000 });
    const { rows } = await pool.query("select count(*)::int as n from sluice.backfill");
    expect(rows).toEqual([{ n: 3 }]);
    expect(await createBackfill(deps, january("previewed", { end: "2024-01-04" }))).toMatchObject({ kind: "nothing" });
  });

  test("a run of the schedule counts as one of a backfill does", async () => {
    const { deps, pool } = database;
    await setClock(deps, new Date("2024-01-05T23:59:59.500Z"));
    await publishDaily(deps, "fired");
    await setClock(deps, new Date("2024-01-06T00:00:01Z"));
    await fireDueSchedules(deps);
    expect((await scheduledRuns(deps, "fired")).map(({ logicalDate }) => logicalDate)).toEqual([
      new Date("2024-01-05"),
    ]);
    const found = await prepareBackfill(pool, january("fired", { end: "2024-01-06" }));
    expect(countPlan(found.plan)).toMatchObject({ create: 4, open: 1 });
    expect(found.notDue).toBe(1);
    await moveClock(deps, "0");
  });

  test("what its schedule is going to start itself is left to it, unless the DAG is paused", async () => {
    const { deps, pool } = database;
    await setClock(deps, new Date("2024-01-05T12:00:00Z"));
    await publishDaily(deps, "owed");
    await setClock(deps, new Date("2024-01-08T12:00:00Z"));
    expect(await prepareBackfill(pool, january("owed"))).toMatchObject({
      leftToSchedule: 3,
      notDue: 24,
      plan: { length: 4 },
    });
    await pool.query("update sluice.schedule set next_at = null");
    expect(await prepareBackfill(pool, january("owed"))).toMatchObject({ leftToSchedule: 0, plan: { length: 7 } });
    await moveClock(deps, "0");
  });
});

describe("two at once", () => {
  test("make each run once", async () => {
    const { deps } = database;
    await publishDaily(deps, "both");
    const made = await Promise.all(
      Array.from({ length: 4 }, (_, at) => createBackfill(deps, january("both", { start: `2024-01-0${1 + at * 2}` }))),
    );
    const ids = made.flatMap((one) => (one.kind === "created" ? [one.backfillId] : []));
    const days = (await Promise.all(ids.map((id) => runsOf(deps, id)))).flat().map(({ day }) => day);
    expect(days.toSorted()).toEqual(Array.from({ length: 31 }, (_, day) => `01-${String(day + 1).padStart(2, "0")}`));
    await nothingBroken(deps);
  });

  test("with the same key are one backfill, and another request is refused", async () => {
    const { deps } = database;
    await publishDaily(deps, "keyed");
    const request = january("keyed", { idempotencyKey: "k", reprocess: "all" });
    const [one, two] = await Promise.all([createBackfill(deps, request), createBackfill(deps, request)]);
    expect([one.kind, two.kind].toSorted()).toEqual(["created", "known"]);
    await expect(createBackfill(deps, { ...request, maxActive: 5 })).rejects.toMatchObject({
      code: "idempotency_key_reused",
    });
  });

  test("one waits for a version that is just being published", async () => {
    const { deps } = database;
    await publishDaily(deps, "moving");
    const publishing = await held(deps, (tx) => lockSchedules(tx, "moving"));
    const made = backfill(deps, january("moving"));
    await waitsForLock(deps);
    await publishing.commit();
    expect(await counts(deps, await made)).toEqual({ running: 4, queued: 27 });
  });
});

describe("what cannot be done is refused with its reason", () => {
  test.each([
    ["an unknown DAG", { dagId: "nothing" }, 'There is no DAG "nothing".'],
    ["a start after the end", { start: "2024-02-01" }, "the start 2024-02-01 is after the end 2024-01-31"],
    ["what is no date", { end: "tomorrow" }, 'end "tomorrow" is no date or time'],
    ["a day that does not exist", { end: "2024-02-30" }, 'end "2024-02-30" is no date or time'],
    ["a range without a date", { start: "2024-01-01T06:00", end: "2024-01-01T07:00" }, "no logical date of"],
    ["the future", { start: "2124-01-01", end: "2124-01-02" }, "what begins there has not ended yet"],
    ["a schedule that there is not", { schedule: 2 }, "has one schedule, so there is no schedule 2"],
    ["params of the wrong type", { conf: { size: "large" } }, 'param "size"'],
    ["no run at a time", { maxActive: 0 }, "at least one run at a time"],
  ])("%s", async (_, fields, message) => {
    await publishDaily(database.deps, "refusing", { params: { size: { type: "integer", default: 1 } } });
    await expect(createBackfill(database.deps, january("refusing", fields))).rejects.toThrow(message);
  });

  test("too many dates, with their number", async () => {
    const { deps } = database;
    await publishDaily(deps, "many", { schedule: [{ cron: "*/2 * * * *" }] });
    await expect(createBackfill(deps, january("many"))).rejects.toThrow("there are 22,320 logical dates");
    await publishDaily(deps, "very-many", { schedule: [{ cron: "* * * * * *" }] });
    await expect(createBackfill(deps, january("very-many"))).rejects.toThrow(
      "there are more than 100,000 logical dates",
    );
  });

  test("a DAG without a schedule, and one whose file is gone", async () => {
    const { deps, pool } = database;
    await publishDaily(deps, "plain", { schedule: [] });
    await expect(createBackfill(deps, january("plain"))).rejects.toThrow("has no schedule");
    await publishDaily(deps, "gone");
    const id = await backfill(deps, january("gone", { end: "2024-01-02", maxActive: 1 }));
    await pool.query("update sluice.dag set missing = true where id = 'gone'");
    await expect(createBackfill(deps, january("gone"))).rejects.toThrow('the file of the DAG "gone" is gone');
    const w = await worker(deps, "w");
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    expect(await counts(deps, id)).toEqual({ success: 1, queued: 1 });
  });
});

test("runs of several schedules are those of each, and of one when it is chosen", async () => {
  const { deps } = database;
  await publishDaily(deps, "several", { schedule: [{ cron: "0 0 * * *" }, { cron: "0 12 * * *" }] });
  const both = await backfill(deps, january("several", { end: "2024-01-02" }));
  expect((await runsOf(deps, both)).map(({ day }) => day)).toEqual(["01-01", "01-01", "01-02", "01-02"]);
  const noon = january("several", { end: "2024-01-02", schedule: 2, reprocess: "all" });
  expect(await createBackfill(deps, noon)).toMatchObject({ kind: "nothing", prepared: { plan: { length: 2 } } });
  await cancelBackfill(deps, both, "anna");
  expect(await counts(deps, await backfill(deps, noon))).toEqual({ running: 2 });
});

test("ten thousand dates are made in one transaction", async () => {
  const { deps } = database;
  await publishDaily(deps, "large", { schedule: [{ cron: "*/4 * * * *" }] });
  const id = await backfill(deps, january("large", { end: "2024-01-27", maxActive: 3 }));
  expect(await counts(deps, id)).toEqual({ running: 3, queued: 27 * 360 - 3 });
  const { rows } = await inTx(database.pool, (tx) =>
    tx.query(
      "select count(distinct logical_date)::int as dates, count(distinct version_id)::int as versions from sluice.dag_run",
    ),
  );
  expect(rows).toEqual([{ dates: 27 * 360, versions: 1 }]);
});
