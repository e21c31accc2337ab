import { type ChildProcess, execFileSync } from "node:child_process";
import { mkdtemp, open, rename, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { freePort, killProcess, startWorker } from "#lib/testing/scheduler-process.ts";

const database = testDatabase();
const STUCK = pathToFileURL(path.resolve(import.meta.dirname, "testing/stuck-threads.ts")).href;
const LOOK_AGAIN_MS = 50;

let folder: string;
let fifo: string;
let port: number;
let child: ChildProcess;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-readiness-"));
  fifo = path.join(folder, "fifo");
  execFileSync("bash", ["-c", `mkfifo "$1"`, "bash", fifo]);
  port = await freePort();
  const env = {
    SLUICE_HOME: folder,
    SLUICE_WORKER_NAME: "w",
    NODE_OPTIONS: `--import=${STUCK}?fifo=${fifo}`,
  };
  child = await startWorker({ databaseUrl: database.url, dagsDir: folder, healthPort: port, env });
});
afterAll(async () => {
  await killProcess(child);
  await rm(folder, { recursive: true });
});

type Ready = { code: number; text: string; notOk: string[] };

async function ready(): Promise<Ready> {
  const response = await fetch(`http://127.0.0.1:${port}/ready`);
  const text = await response.text();
  const { duties } = JSON.parse(text) as { duties: { name: string; ok: boolean }[] };
  return { code: response.status, text, notOk: duties.filter(({ ok }) => !ok).map(({ name }) => name) };
}

async function row(): Promise<{ state: string; trouble: string | null }> {
  const { rows } = await database.pool.query<{ state: string; trouble: string | null }>(
    "select state, trouble from sluice.worker where id = 'w'",
  );
  return rows[0]!;
}

async function untilReady(isSo: (seen: Ready) => boolean): Promise<Ready> {
  for (;;) {
    const seen = await ready();
    if (isSo(seen)) return seen;
    await delay(LOOK_AGAIN_MS);
  }
}

async function untilRow(isSo: (seen: Awaited<ReturnType<typeof row>>) => boolean): Promise<void> {
  while (!isSo(await row())) await delay(LOOK_AGAIN_MS);
}

test("every thread of the pool taken: not ready, drained with the reason, and back by itself", async () => {
  expect((await untilReady(({ code }) => code === 200)).notOk).toEqual([]);
  child.kill("SIGUSR2");
  const seen = await untilReady(({ code }) => code === 503);
  expect(seen.notOk).toContain("thread pool");
  // Names only: the port is open to everybody.
  expect(seen.text).not.toContain("has not");
  await untilRow(({ state, trouble }) => state === "draining" && trouble!.startsWith("thread pool: it has not"));
  const writer = await open(fifo, "r+");
  await untilReady(({ code }) => code === 200);
  await untilRow(({ state, trouble }) => state === "active" && trouble === null);
  await writer.close();
});

test("a folder in which no task can be started: the same", async () => {
  const [work, aside] = [path.join(folder, "work", "w"), path.join(folder, "aside")];
  await rename(work, aside);
  await writeFile(work, "");
  const seen = await untilReady(({ code }) => code === 503);
  expect(seen.notOk).toEqual(["task start"]);
  await untilRow(({ state, trouble }) => state === "draining" && trouble!.startsWith("task start: "));
  await rm(work);
  await rename(aside, work);
  await untilReady(({ code }) => code === 200);
  await untilRow(({ state }) => state === "active");
});

test("a worker that stood still for longer than a round may take is ready when it runs again", async () => {
  child.kill("SIGSTOP");
  await delay(12_000);
  child.kill("SIGCONT");
  for (let times = 0; times < 20; times++) {
    expect(await ready()).toMatchObject({ code: 200, notOk: [] });
    await delay(LOOK_AGAIN_MS);
  }
});
