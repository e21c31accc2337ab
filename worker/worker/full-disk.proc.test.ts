import { type ChildProcess, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { runState, start } from "#lib/testing/engine.ts";
import { killProcess, startScheduler, startWorker } from "#lib/testing/scheduler-process.ts";

/** A worker whose folder is a file system of 64 MiB of its own; below 32 it starts nothing, below 16 it ends the largest writer. */

const database = testDatabase();
const LOOK_AGAIN_MS = 50;
const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-full-disk-"));
const home = path.join(folder, "home");
await mkdir(home);
const canMount = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", home]).status === 0;
const children: ChildProcess[] = [];
const mayEnd = path.join(folder, "may-end");
const COMMANDS = {
  // It writes while another one fills the disk, and more when that one is gone.
  modest: `until [ -e ${mayEnd} ]; do echo line >> own || exit 3; sleep 0.01; done; head -c 4M /dev/zero > more`,
  greedy: "head -c 52M /dev/zero > big; sleep 300",
  later: "echo hi",
  small: `head -c 4M /dev/zero > own; until [ -e ${mayEnd}-hidden ]; do sleep 0.01; done`,
  // No folder holds what it writes.
  hidden: `exec 3> file; rm file; head -c 48M /dev/zero >&3; until [ -e ${mayEnd}-hidden ]; do sleep 0.01; done`,
};

beforeAll(async () => {
  if (!canMount) return;
  const dagsDir = path.join(folder, "dags");
  await mkdir(dagsDir);
  for (const [id, command] of Object.entries(COMMANDS))
    await writeFile(path.join(dagsDir, `${id}.yaml`), JSON.stringify({ id, tasks: [{ id: "only", bash: command }] }));
  const options = { databaseUrl: database.url, dagsDir };
  const env = { SLUICE_HOME: home, SLUICE_WORKER_NAME: "w", SLUICE_MIN_FREE_DISK: "32Mi" };
  children.push(...(await Promise.all([startScheduler(options), startWorker({ ...options, env })])));
  const loaded = async (): Promise<number> => (await database.pool.query("select from sluice.dag")).rows.length;
  while ((await loaded()) < Object.keys(COMMANDS).length) await delay(LOOK_AGAIN_MS);
});
afterAll(async () => {
  await Promise.all(children.map(killProcess));
  if (canMount) spawnSync("umount", ["-l", home]);
  await rm(folder, { recursive: true });
});

type Attempt = { state: string; reason: string; error: string | null };

async function ended(runId: string): Promise<Attempt[]> {
  while (["queued", "running"].includes(await runState(database.deps, runId))) await delay(LOOK_AGAIN_MS);
  const { rows } = await database.pool.query<Attempt>(
    "select state, reason, error from sluice.attempt where task_instance_id >> 20 = $1 order by number",
    [runId],
  );
  return rows;
}

async function trouble(isSo: (text: string | null) => boolean): Promise<void> {
  for (;;) {
    const { rows } = await database.pool.query<{ trouble: string | null }>("select trouble from sluice.worker");
    if (isSo(rows[0]!.trouble)) return;
    await delay(LOOK_AGAIN_MS);
  }
}

const OK = { state: "success", reason: "EXIT", error: null };

describe.runIf(canMount)("a disk that is filled", () => {
  test("by one task: that one is ended, with the reason, and its neighbour writes on", async () => {
    const modest = await start(database.deps, "modest");
    while ((await isRunning(modest)) === 0) await delay(LOOK_AGAIN_MS);
    const greedy = await start(database.deps, "greedy");
    const [end] = await ended(greedy);
    expect(end).toMatchObject({ state: "failed", reason: "DISK_FILLED" });
    expect(end!.error).toMatch(
      /^ended, because the worker's disk had \d+ MiB left, .* this one had written most to its folder: 5[0-2] MiB$/,
    );
    await writeFile(mayEnd, "");
    expect(await ended(modest)).toEqual([OK]);
  });

  test("by a task whose file is deleted: no other is ended for it, and the worker claims nothing", async () => {
    const runs = [await start(database.deps, "small"), await start(database.deps, "hidden")];
    await trouble((text) => text !== null);
    await writeFile(`${mayEnd}-hidden`, "");
    expect(await Promise.all(runs.map(ended))).toEqual([[OK], [OK]]);
    await trouble((text) => text === null);
  });

  test("by others: the worker claims nothing, fails nothing and says why, and begins when there is room again", async () => {
    const ballast = path.join(home, "ballast");
    await writeFile(ballast, Buffer.alloc(40 * 1024 * 1024, 1));
    await trouble((text) => text === "disk: the worker has less than 32 MiB of disk left (SLUICE_MIN_FREE_DISK)");
    const later = await start(database.deps, "later");
    await rm(ballast);
    await trouble((text) => text === null);
    const attempts = await ended(later);
    expect(attempts.at(-1)).toEqual(OK);
    // Each one before it went back without having begun.
    expect(attempts.slice(0, -1).filter(({ reason }) => reason !== "NOT_BEGUN")).toEqual([]);
  });
});

async function isRunning(runId: string): Promise<number> {
  const { rowCount } = await database.pool.query(
    "select from sluice.live_attempt where state = 'running' and task_instance_id >> 20 = $1",
    [runId],
  );
  return rowCount ?? 0;
}
