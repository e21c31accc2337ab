import { execFile, spawn } from "node:child_process";
import path from "node:path";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { WorkerRef } from "#lib/db/claims.ts";
import { finish } from "#lib/engine/finish.ts";
import { plainEnv } from "#lib/env.ts";
import { counts, forgetBackfills, publishDaily } from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, forgetRuns, success, worker } from "#lib/testing/engine.ts";

const database = testDatabase();
const SLUICE = path.resolve(import.meta.dirname, "sluice.mjs");

let w: WorkerRef;

beforeAll(() => publishDaily(database.deps, "etl"));

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
  w = await worker(database.deps, "w");
  await database.pool.query("update sluice.worker set lease_until = sluice.clock() + interval '1 hour'");
});

type Ended = { code: number; stdout: string; stderr: string };
const env = (): NodeJS.ProcessEnv => ({ ...plainEnv(), DATABASE_URL: database.url });
const RANGE = ["--dag", "etl", "--start", "2024-01-01", "--end", "2024-01-05"];

function sluice(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [SLUICE, "backfill", ...args], { env: env() }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** Starts a command; `says` resolves when it has written that. */
function watching(...args: string[]): { ended: Promise<Ended>; says(text: string): Promise<void>; kill(): void } {
  const child = spawn(process.execPath, [SLUICE, "backfill", ...args], { env: env() });
  const out = { stdout: "", stderr: "" };
  const looks = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const)
    child[name].on("data", (chunk: Buffer) => {
      out[name] += chunk.toString();
      for (const look of looks) look();
    });
  return {
    ended: new Promise((resolve) => child.on("close", (code) => resolve({ code: code ?? -1, ...out }))),
    says: (text) =>
      new Promise((resolve) => {
        const look = (): void => {
          if ((out.stdout + out.stderr).includes(text)) resolve();
        };
        looks.add(look);
        look();
      }),
    kill: () => void child.kill("SIGINT"),
  };
}

/** Ends all that there is to do; `fails` says of each. */
async function work(fails: () => boolean): Promise<void> {
  for (;;) {
    const claimed = await claimAll(database.deps, w);
    if (claimed.length === 0) return;
    await finish(
      database.deps,
      claimed.map((one) => (fails() ? failed(one) : success(one))),
      "worker:w",
    );
  }
}

describe("backfills from the command line", () => {
  test("a preview lists the dates and makes nothing", async () => {
    const preview = await sluice("create", ...RANGE, "--dry-run");
    expect(preview).toMatchObject({ code: 0, stderr: "" });
    expect(preview.stdout).toMatch(
      /^backfill of etl, logical dates from 2024-01-01 00:00 to 2024-01-05 23:59:59 UTC\n/,
    );
    expect(preview.stdout).toMatch(/2024-01-05 00:00 +2024-01-06 00:00 +runs\n/);
    expect(preview.stdout).toContain("\n5 dates: 5 get a run\n");
    expect(preview.stdout).toContain("no run of this DAG has succeeded yet");
    expect((await sluice("list", "--json")).stdout).toContain('"backfills": []');
    const json = JSON.parse((await sluice("create", ...RANGE, "--dry-run", "--json")).stdout) as unknown;
    expect(json).toMatchObject({ counts: { create: 5, rerun: 0 }, estimate: null, dates: { length: 5 } });
  });

  test("its progress is shown until its end, which the exit code tells, and a retry makes it good", async () => {
    const create = watching("create", ...RANGE, "--max-active", "2", "--note", "why not");
    await create.says("0/5 dates (0%): 3 queued, 2 running");
    let n = 0;
    await work(() => ++n === 2);
    const ended = await create.ended;
    expect(ended.stdout).toMatch(
      /^backfill (\d+) of etl: 5 dates: 5 get a run\nbackfill \1: failed, 4 success, 1 failed\n$/,
    );
    expect(ended.code).toBe(1);
    const id = /\d+/.exec(ended.stdout)![0];
    const shown = await sluice("show", id);
    expect(shown.stdout).toMatch(/: failed\n.*2 at once, asc, priority low, reprocess missing\n5\/5 dates \(100%\)/);
    expect(shown.stdout).toMatch(
      /note: why not\n[^]*2024-01-0\d 00:00 +\d+ +failed\n[^]*running +cli:[^]*failed +limits/,
    );
    expect((await sluice("retry", id)).stdout).toBe(`backfill ${id} tries 1 date again\n`);
    const watch = watching("show", id, "--watch");
    await watch.says("4/5 dates");
    await work(() => false);
    expect(await watch.ended).toMatchObject({ code: 0, stdout: `backfill ${id}: success, 5 success\n` });
    expect(await sluice("retry", id)).toMatchObject({ code: 1, stdout: `backfill ${id} has nothing to try again\n` });
    const again = await sluice("create", ...RANGE);
    expect(again).toMatchObject({
      code: 0,
      stdout: "nothing to do: 5 dates: 5 keep the run they have (there are 5 success)\n",
    });
  });

  test("Ctrl-C leaves it going, and says how to look and cancel", async () => {
    const create = watching("create", ...RANGE);
    await create.says("0/5 dates");
    create.kill();
    const { code, stdout, stderr } = await create.ended;
    const id = /\d+/.exec(stdout)![0];
    expect(code).toBe(130);
    expect(stderr).toContain(
      `backfill ${id} goes on: \`sluice backfill show ${id} --watch\` follows it, \`sluice backfill cancel ${id}\` ends it\n`,
    );
    expect(await counts(database.deps, id)).toEqual({ queued: 1, running: 4 });
    expect((await sluice("pause", id)).stdout).toBe(`backfill ${id} is paused\n`);
    expect((await sluice("show", id)).stdout).toContain(", paused by cli:");
    expect((await sluice("resume", id)).stdout).toBe(`backfill ${id} goes on\n`);
    expect((await sluice("cancel", id)).stdout).toBe(`backfill ${id} is being cancelled\n`);
    expect(await sluice("cancel", id)).toMatchObject({ code: 1, stdout: `backfill ${id} has ended already\n` });
    expect(await sluice("pause", id)).toMatchObject({ code: 1, stdout: `backfill ${id} is cancelled\n` });
    expect((await sluice("list", "--dag", "etl")).stdout).toMatch(
      /etl +cancelled +2024-01-01 00:00 to .* 5 cancelled +cli:/,
    );
  });

  test("a run says which backfill it is of", async () => {
    const made = JSON.parse((await sluice("create", ...RANGE, "--max-active", "1", "--no-wait", "--json")).stdout) as {
      id: string;
    };
    const { rows } = await database.pool.query<{ id: string }>("select id from sluice.dag_run order by id");
    const runs = (args: string[]): Promise<string> =>
      new Promise((resolve) => {
        execFile(process.execPath, [SLUICE, "runs", ...args], { env: env() }, (_, stdout) => resolve(stdout));
      });
    expect(await runs(["show", rows[0]!.id])).toContain(
      `of backfill ${made.id}\nlogical date 2024-01-01T00:00:00.000Z, interval 2024-01-01T00:00:00.000Z to 2024-01-02T00:00:00.000Z\n`,
    );
    expect(await runs(["show", rows[2]!.id])).toContain(
      `1 of 1 runs of backfill ${made.id} are active; 1 more is queued before it`,
    );
    expect(await runs(["list"])).toContain(`, backfill ${made.id}\n`);
  });

  test("what is wrong is said", async () => {
    expect(await sluice("create", ...RANGE, "--reprocess", "some")).toMatchObject({ code: 2 });
    expect(await sluice("create", ...RANGE.with(1, "nothing"))).toMatchObject({
      code: 2,
      stderr: 'sluice: There is no DAG "nothing".\n',
    });
    expect(await sluice("create", ...RANGE.with(5, "2023-12-31"))).toMatchObject({
      code: 1,
      stderr: "sluice: the start 2024-01-01 is after the end 2023-12-31\n",
    });
    for (const command of ["show", "pause", "resume", "cancel", "retry"])
      expect(await sluice(command, "99")).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/[Tt]here is no backfill 99/),
      });
  });
});
