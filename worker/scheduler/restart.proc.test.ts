import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "#lib/embedded/start.ts";
import { install } from "#lib/engine/install.ts";
import { freePort, killProcess, startScheduler, startWorker } from "#lib/testing/scheduler-process.ts";

const LOOK_AGAIN_MS = 50;

let folder: string;
let server: EmbeddedPostgres;
const children: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-restart-"));
  // Root's temporary folder is private, and Postgres runs as another user.
  await chmod(folder, 0o711);
  server = await startPostgres();
  await install(server.url);
});

afterAll(async () => {
  for (const child of children) await killProcess(child);
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

function startPostgres(port?: number): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({
    dataDir: path.join(folder, "postgres"),
    logFile: path.join(folder, "postgres.log"),
    fsync: false,
    ...(port === undefined ? {} : { restartOn: port }),
  });
}

/** Resolves when somebody has tried to connect to this port, and was turned away. */
async function triedInVain(port: number): Promise<void> {
  const nobody = createServer((socket) => socket.destroy()).listen(port, "127.0.0.1");
  await once(nobody, "connection");
  nobody.close();
  await once(nobody, "close");
}

async function isReady(port: number): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port}/ready`)).status;
}

async function untilReady(port: number, status: number): Promise<void> {
  while ((await isReady(port)) !== status) await delay(LOOK_AGAIN_MS);
}

const metrics = async (port: number): Promise<string> => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();

test("a scheduler and a worker wait for a Postgres that is away at their start, and survive one that restarts", async () => {
  const dagsDir = path.join(folder, "dags");
  await mkdir(dagsDir);
  const { url: databaseUrl, port } = server;
  await server.stop();
  const ports = [await freePort(), await freePort()] as const;
  const starting = Promise.all([
    startScheduler({ databaseUrl, dagsDir, healthPort: ports[0] }),
    startWorker({ databaseUrl, dagsDir, healthPort: ports[1] }),
  ]);
  await Promise.race([triedInVain(port), starting]);
  server = await startPostgres(port);
  children.push(...(await starting));
  for (const health of ports) await untilReady(health, 200);

  await server.stop();
  for (const health of ports) await untilReady(health, 503);
  expect(await metrics(ports[0])).toMatch(/^sluice_duty_runs_total\{duty="admit",outcome="failed"\} [1-9]/m);
  server = await startPostgres(port);
  for (const health of ports) await untilReady(health, 200);
  expect(children.map(({ exitCode, signalCode }) => exitCode ?? signalCode)).toEqual([null, null]);

  const told = await metrics(ports[1]);
  expect(told).toMatch(/^sluice_duty_age_seconds\{duty="claim"\} [\d.]+$/m);
  for (const duty of ["heartbeat", "callbacks"]) {
    expect(told).toMatch(new RegExp(`^sluice_duty_age_seconds\\{duty="${duty}"\\} [\\d.]+$`, "m"));
    expect(told).toMatch(new RegExp(`^sluice_duty_runs_total\\{duty="${duty}",outcome="done"\\} [1-9]`, "m"));
    expect(told).toMatch(new RegExp(`^sluice_duty_duration_seconds_count\\{duty="${duty}"\\} [1-9]`, "m"));
  }
});
