import { spawn } from "node:child_process";
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { PACKAGE_ROOT } from "#worker/standalone/paths.ts";

const SLUICE = path.join(PACKAGE_ROOT, "cli", "sluice.mjs");

let folder: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(path.join(os.tmpdir(), "sluice-cron-")));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

type Ran = { code: number | null; out: string; err: string };

/** `sluice cron …` in the folder, which has no database. */
async function cron(...args: readonly string[]): Promise<Ran> {
  const child = spawn(process.execPath, [SLUICE, "cron", ...args], {
    cwd: folder,
    env: { ...plainEnv(), HOME: folder, TMPDIR: folder },
  });
  const ran: Ran = { code: null, out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (ran.out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (ran.err += text));
  ran.code = await new Promise((resolve) => child.on("close", resolve));
  return ran;
}

const DAG = `id: etl
timezone: Europe/Berlin
calendars: { holidays: { dates: [12-25 Christmas Day] } }
schedule:
  - { cron: "0 9 * * *", calendar: { except: [holidays], shift: next } }
  - "@hourly"
tasks: [{ id: x, noop: {} }]
`;

describe("cron next", () => {
  test("prints a table of what is due, after now or after a time", async () => {
    const { code, out, err } = await cron(
      "next",
      "0 9 * * 1-5",
      "--tz",
      "Europe/Berlin",
      "--from",
      "2026-03-27",
      "--count",
      "2",
    );
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out.split("\n")).toEqual([
      "DUE IN EUROPE/BERLIN         UTC               NOTES",
      "Fri 2026-03-27 09:00 +01:00  2026-03-27 08:00",
      "Mon 2026-03-30 09:00 +02:00  2026-03-30 07:00",
      "",
    ]);
    expect((await cron("next", "15m")).out.trim().split("\n")).toHaveLength(11);
  });

  test("reads the schedules of a definition", async () => {
    await writeFile(path.join(folder, "etl.yaml"), DAG);
    const { code, out } = await cron(
      "next",
      "--dag",
      "etl.yaml",
      "--from",
      "2026-12-26T07:30:00Z",
      "--count",
      "2",
      "--json",
    );
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      runs: [
        {
          due: "2026-12-26T08:00:00.000Z",
          logicalDate: "2026-12-24T08:00:00.000Z",
          schedule: "0 9 * * *",
          notes: [{ kind: "shifted", text: "also stands for 2026-12-25 (Christmas Day)" }],
        },
        { due: "2026-12-26T08:00:00.000Z", schedule: "@hourly" },
      ],
    });
  });

  test("with no next time ends with 1", async () => {
    await writeFile(path.join(folder, "etl.yaml"), `${DAG}endDate: 2027-01-01\n`);
    const { code, out } = await cron("next", "--dag", "etl.yaml", "--from", "2027-02-01");
    expect({ code, out }).toEqual({ code: 1, out: "etl is never due after 2027-02-01 00:00 UTC\n" });
  });

  test.for([
    [["next", "0 25 * * *"], `the hour field has "25": hours go from 0 to 23`],
    [
      ["next", "@daily", "--tz", "Europe/Berln"],
      `--tz "Europe/Berln" is no IANA time zone; did you mean "Europe/Berlin"?`,
    ],
    [["next"], "give a cron expression"],
    [["next", "5ms"], "an interval has at least 1s"],
    [["next", "@daily", "--dag", "etl.yaml"], "leave out the expression and --tz, or --dag"],
    [["next", "@daily", "--count", "0"], "from 1 to 1000"],
    [["next", "@daily", "--from", "soon"], "Give a time"],
    [["next", "--dag", "none.yaml"], "none.yaml does not exist"],
    [["next", "--dag", "plain.yaml"], `the DAG "plain" has no schedule`],
    [["next", "--dag", "bad.yaml"], "bad.yaml:2:11: error: schedule: it never fires"],
    [["calendar", "none.ics"], "none.ics"],
    [["calendar", "plain.yaml"], "plain.yaml:1: this is no iCalendar file"],
    [["nonsense"], "unknown command"],
  ] as const)("%j ends with 2 and says why", async ([args, message]) => {
    await writeFile(path.join(folder, "plain.yaml"), "id: plain\ntasks: [{ id: x, noop: {} }]\n");
    await writeFile(path.join(folder, "bad.yaml"), 'id: bad\nschedule: "0 0 30 2 *"\ntasks: [{ id: x, noop: {} }]\n');
    const { code, out, err } = await cron(...args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
  });
});

test("cron explain says it in words, with the next clock changes", async () => {
  const { code, out } = await cron("explain", "30 2 * * *", "--tz", "Europe/Berlin", "--from", "2026-01-01");
  expect(code).toBe(0);
  expect(out).toContain("30 2 * * *\n  At 02:30, in Europe/Berlin\n  A fixed-time job: ");
  expect(out).toContain(
    "Clocks go from 2026-03-29 02:00 to 2026-03-29 03:00:\n    2026-03-29T01:00Z DST gap: moved from 02:30\n",
  );
  const json = await cron("explain", "15m", "--json");
  expect(JSON.parse(json.out)).toMatchObject({
    schedules: [{ schedule: "15m", when: "Every 15 minutes, in UTC", clockChanges: [] }],
  });
});

test("cron calendar makes a calendar of an iCalendar file, which a definition can have", async () => {
  const ics =
    "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nSUMMARY:Christmas: Day\nEND:VEVENT\nEND:VCALENDAR\n";
  await writeFile(path.join(folder, "h.ics"), ics);
  const { code, out } = await cron("calendar", "h.ics", "--name", "bank");
  expect({ code, out }).toEqual({
    code: 0,
    out: 'calendars:\n  bank:\n    dates:\n      - "2026-12-25 Christmas: Day"\n',
  });
  const definition = `id: a\n${out}schedule: { cron: "0 9 25 * *", calendar: { except: [bank] } }\ntasks: [{ id: x, noop: {} }]\n`;
  await writeFile(path.join(folder, "a.yaml"), definition);
  const next = await cron("next", "--dag", "a.yaml", "--from", "2026-12-01", "--count", "1");
  expect(next.out).toContain("skipped 2026-12-25 09:00: Christmas: Day");
});
