import { execFile } from "node:child_process";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, publish, success, worker, patrolAdmission } from "#lib/testing/engine.ts";
import { finish } from "#lib/engine/finish.ts";
import { sayPresent } from "#lib/db/schedulers.ts";
import type { WorkerRef } from "#lib/db/claims.ts";
import { plainEnv } from "#lib/env.ts";
import { createLogWriter } from "#worker/worker/log-writer.ts";

const database = testDatabase();
const SLUICE = path.resolve(import.meta.dirname, "sluice.mjs");

let w: WorkerRef;

beforeAll(async () => {
  await publish(database.deps, "etl", { extract: [], load: ["extract"] });
  w = await worker(database.deps, "w");
  // Nobody renews its lease, and a slow machine takes longer for all the commands than it lasts.
  await database.pool.query("update sluice.worker set lease_until = sluice.clock() + interval '1 hour'");
});

type Ended = { code: number; stdout: string; stderr: string };

/** Runs a command; then admits what it has made ready, as a scheduler does that hears of it. */
async function sluice(...args: string[]): Promise<Ended> {
  const env = { ...plainEnv(), DATABASE_URL: database.url };
  const ended = await new Promise<Ended>((resolve) => {
    execFile(process.execPath, [SLUICE, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
  await patrolAdmission(database.deps);
  return ended;
}

async function trigger(): Promise<string> {
  const { stdout } = await sluice("runs", "trigger", "etl", "--json");
  return (JSON.parse(stdout) as { id: string }).id;
}

describe("runs and tasks from the command line", () => {
  test("a dead letter is listed, shown, replayed and dismissed, and the doctor finds nothing broken", async () => {
    const runId = await trigger();
    const fail = async (): Promise<unknown> =>
      finish(
        database.deps,
        (await claimAll(database.deps, w)).map((attempt) => ({ ...failed(attempt), error: "no such table" })),
        "worker:w",
      );
    await fail();
    expect((await sluice("dead-letters", "list", "--dag", "etl")).stdout).toMatch(
      /extract .* open .* EXIT no such table/,
    );
    expect((await sluice("dead-letters", "show", runId, "extract")).stdout).toContain("no such table");
    expect(await sluice("dead-letters", "show", runId, "load")).toMatchObject({ code: 2 });
    expect((await sluice("dead-letters", "replay", runId)).stdout).toBe("replay: 1 dead letter\n");
    expect((await sluice("tasks", "list", runId, "--state", "queued")).stdout).toMatch(/extract +bash +queued +2/);
    expect(await sluice("dead-letters", "replay", runId)).toMatchObject({ code: 1 });
    await fail();
    expect((await sluice("tasks", "show", runId, "extract")).stdout).toMatch(/1 +failed +EXIT[^]*2 +failed +EXIT/);
    expect((await sluice("dead-letters", "dismiss", runId, "extract")).stdout).toBe("dismiss: 1 dead letter\n");
    expect((await sluice("doctor")).stdout).toMatch(/✗ scheduler-alive[^]*none was seen within a day/);
    await sayPresent(database.pool, { id: "s", host: "here", pid: 1, version: "0.0.0" }, []);
    expect((await sluice("doctor")).stdout).not.toContain("✗");
    await database.pool.query("update sluice.run_progress set open = open + 1 where run_id = $1", [runId]);
    const sick = await sluice("doctor", "--json");
    expect(sick.code).toBe(1);
    expect(JSON.parse(sick.stdout)).toMatchObject({ healthy: false });
    await database.pool.query("update sluice.run_progress set open = open - 1 where run_id = $1", [runId]);
  });

  test("a run is shown with what its tasks left", async () => {
    const runId = await trigger();
    const [extract] = await claimAll(database.deps, w);
    await finish(database.deps, [{ ...success(extract!), output: '{"rows":3}' }], "worker:w");
    const { tasks } = JSON.parse((await sluice("runs", "show", runId, "--json")).stdout) as { tasks: unknown[] };
    expect(tasks).toMatchObject([
      { taskId: "extract", output: { rows: 3 }, attempts: [{ number: 1, state: "success" }] },
      { taskId: "load", output: null, attempts: [{ number: 1, state: "queued" }] },
    ]);
    await sluice("runs", "cancel", runId);
  });

  test("a log is printed whole, or its lines from a level on", async () => {
    const runId = await trigger();
    const [extract] = await claimAll(database.deps, w);
    const log = createLogWriter(database.deps, { maxBytes: 1024 * 1024 }).open(extract!);
    for (const text of ["ERR", "OR no luck\n  at load\nDEBUG x\nplain\n", "[warn] half"])
      await log.write("stdout", Buffer.from(text));
    await log.stored();
    await finish(database.deps, [success(extract!)], "worker:w");
    const logs = async (...args: string[]): Promise<string> =>
      (await sluice("tasks", "logs", runId, "extract", ...args)).stdout;
    expect(await logs()).toBe("ERROR no luck\n  at load\nDEBUG x\nplain\n[warn] half");
    expect(await logs("--level", "info", "--follow")).toBe("ERROR no luck\n  at load\nplain\n[warn] half");
    expect(await logs("--level", "error")).toBe("ERROR no luck\n  at load\n");
    expect(await sluice("tasks", "logs", runId, "extract", "--level", "wran")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("error, warn, info, debug"),
    });
    await sluice("runs", "cancel", runId);
  });

  test("a paused DAG starts nothing until it is unpaused", async () => {
    expect((await sluice("dags", "pause", "etl")).stdout).toBe("etl is paused\n");
    const runId = await trigger();
    expect((await sluice("runs", "show", runId)).stdout).toMatch(
      /queued\nlogical date \S+Z\nits DAG etl is paused by cli:/,
    );
    expect((await sluice("dags", "unpause", "etl")).stdout).toBe("etl goes on\n");
    expect((await sluice("runs", "show", runId)).stdout).toContain("running");
    await sluice("runs", "cancel", runId);
    expect(await sluice("dags", "pause", "nothing")).toMatchObject({ code: 2 });
  });

  test("a run is started, shown with reasons, repaired and cancelled", async () => {
    const runId = await trigger();
    await finish(database.deps, (await claimAll(database.deps, w)).map(failed), "worker:w");
    const shown = await sluice("runs", "show", runId);
    expect(shown.stdout).toMatch(new RegExp(`^run ${runId} of etl, version 1: failed`));
    expect(shown.stdout).toContain("it never ran, because of extract (failed)");
    expect((await sluice("tasks", "why", runId, "extract")).stdout).toBe("extract is failed: it failed (EXIT)\n");
    expect((await sluice("runs", "clear", runId, "--only-failed")).stdout).toBe(`run ${runId} goes on\n`);
    const json = JSON.parse((await sluice("runs", "show", runId, "--json")).stdout) as {
      run: { state: string };
      tasks: { taskId: string; state: string; attempts: unknown[] }[];
    };
    expect(json).toMatchObject({
      run: { state: "running" },
      tasks: [
        { taskId: "extract", state: "queued", attempts: [{ number: 1 }, { number: 2 }] },
        { taskId: "load", state: "waiting" },
      ],
    });
    expect(await sluice("runs", "cancel", runId)).toMatchObject({ code: 0, stdout: `run ${runId} is cancelled\n` });
    expect(await sluice("runs", "cancel", runId)).toMatchObject({ code: 1 });
  });

  test("a task is marked, and a paused run says who paused it", async () => {
    const runId = await trigger();
    expect((await sluice("runs", "pause", runId)).code).toBe(0);
    expect((await sluice("tasks", "mark", runId, "extract", "success")).code).toBe(0);
    expect((await sluice("tasks", "why", runId, "load")).stdout).toMatch(/^load is ready: its run was paused by cli:/);
    await sluice("runs", "resume", runId);
    expect((await sluice("tasks", "why", runId, "load")).stdout).toMatch(/^load is queued: /);
    await finish(database.deps, (await claimAll(database.deps, w)).map(success), "worker:w");
    expect((await sluice("runs", "show", runId)).stdout).toContain(": success");
  });

  test("a pool is made, filled, named as the reason, and deleted", async () => {
    expect((await sluice("pools", "set", "db", "8")).stdout).toBe("pool db has 8 slots\n");
    expect((await sluice("pools", "list")).stdout).toMatch(/db +0\/8/);
    expect((await sluice("pools", "delete", "db")).code).toBe(0);
    expect((await sluice("pools", "delete", "db")).code).toBe(2);
    await patrolAdmission(database.deps);
  });

  test("what is not there, and what cannot be meant, ends with 2 and says so", async () => {
    expect(await sluice("runs", "trigger", "nope")).toMatchObject({
      code: 2,
      stderr: 'sluice: there is no DAG "nope"\n',
    });
    expect(await sluice("runs", "show", "999999")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no run"),
    });
    expect(await sluice("runs", "show", "x")).toMatchObject({ code: 2 });
    expect(await sluice("runs", "trigger", "etl", "--conf", "[1]")).toMatchObject({ code: 2 });
    const runId = await trigger();
    expect(await sluice("tasks", "why", runId, "laod")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("it has: extract, load"),
    });
  });
});
