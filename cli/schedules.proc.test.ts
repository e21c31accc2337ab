import { execFile } from "node:child_process";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { fireDueSchedules } from "#lib/engine/fire-schedules.ts";
import { pauseDag } from "#lib/engine/pause.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { publishScheduled, setClock } from "#lib/testing/schedules.ts";

const database = testDatabase();
const SLUICE = path.resolve(import.meta.dirname, "sluice.mjs");

beforeAll(async () => {
  const { deps } = database;
  await setClock(deps, new Date(Date.now() - 3 * 3_600_000));
  await publishScheduled(deps, "workdays", {
    schedule: { cron: "0 9 * * *", calendar: { except: ["weekends"] } },
    timezone: "Europe/Berlin",
  });
  await publishScheduled(deps, "hourly", {
    schedule: ["@hourly", { every: "30m" }],
    catchup: { policy: "all", max: 1 },
  });
  await publishScheduled(deps, "over", { schedule: "@daily", endDate: "2020-01-01" });
  await publishScheduled(deps, "paused", { schedule: "@hourly" });
  await pauseDag(deps, "paused", "anna");
  await fireDueSchedules(deps);
  await setClock(deps, new Date());
  await fireDueSchedules(deps);
});

type Ended = { code: number; stdout: string; stderr: string };

function sluice(...args: string[]): Promise<Ended> {
  const env = { ...plainEnv(), DATABASE_URL: database.url };
  return new Promise((resolve) => {
    execFile(process.execPath, [SLUICE, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

describe("schedules from the command line", () => {
  test("are listed with their next run, or why there is none", async () => {
    const { stdout } = await sluice("schedules", "list");
    expect(stdout).toMatch(/^DAG +SCHEDULE +ZONE +NEXT RUN \(UTC\) +DROPPED +IN WORDS$/m);
    expect(stdout).toMatch(/^hourly +@hourly +UTC +\d{4}-\d\d-\d\d \d\d:00 +2 +Every hour, in UTC$/m);
    expect(stdout).toMatch(/^over +@daily +UTC +never again /m);
    expect(stdout).toMatch(/^paused +@hourly +UTC +paused by anna /m);
    expect((await sluice("schedules", "list", "--dag", "hourly")).stdout.trim().split("\n")).toHaveLength(3);
  });

  test("are shown with their next runs, in their zone and UTC, and with what did not start", async () => {
    const { stdout } = await sluice("schedules", "show", "hourly", "--count", "3");
    expect(stdout).toMatch(/did not start: 2 runs from .* to .* UTC, more than catchup makes up for/);
    expect(stdout).toMatch(/SCHEDULE/);
    const workdays = (await sluice("schedules", "show", "workdays", "--count", "7")).stdout;
    expect(workdays).toMatch(/DUE IN EUROPE\/BERLIN +UTC +NOTES/);
    expect(workdays).toMatch(/skipped .* 09:00: Saturday/);
    expect((await sluice("schedules", "show", "paused")).stdout).toMatch(/Paused by anna since .* UTC: none of these/);
  });

  test("of a DAG that has none, or is not there, are told of as such", async () => {
    expect(await sluice("schedules", "show", "nothing")).toMatchObject({ code: 2 });
  });
});
