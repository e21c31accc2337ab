import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { runState, start } from "#lib/testing/engine.ts";
import { type Network, startNetwork } from "#lib/testing/network.ts";
import { allEnded, isRunning } from "#lib/testing/processes.ts";
import { freePort, killProcess, startScheduler, startWorker } from "#lib/testing/scheduler-process.ts";

// A worker that the database does not hear of, while the task that it runs knows nothing of that.

const database = testDatabase();
const LOOK_AGAIN_MS = 50;
const HOUR_MS = 3_600_000;
const MOVED_CLOCK = pathToFileURL(path.resolve(import.meta.dirname, "testing/moved-clock.ts")).href;

let folder: string;
let network: Network;
const children: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-unreachable-"));
  // Tasks of a worker that is root are another user's.
  await chmod(folder, 0o777);
  network = await startNetwork(database.url);
  for (const id of ["brief", "silent", "stopped", "clock"]) {
    const pid = `${folder}/${id}.pid.$SLUICE_ATTEMPT`;
    const bash = `echo $$ > ${pid}.new; mv ${pid}.new ${pid}; until [ -e ${folder}/${id}.go ]; do sleep 0.05; done`;
    const task = { id: "only", bash, workerLabels: [id], timeout: "30m" };
    await writeFile(path.join(folder, `${id}.json`), JSON.stringify({ id, tasks: [task] }));
  }
  // Due in an hour, which is passed over when a clock is moved by two.
  const due = new Date(Date.now() + HOUR_MS);
  const schedule = `${due.getUTCMinutes()} ${due.getUTCHours()} * * *`;
  await writeFile(
    path.join(folder, "soon.json"),
    JSON.stringify({ id: "soon", schedule, tasks: [{ id: "only", noop: {} }] }),
  );
  await launch(startScheduler({ databaseUrl: database.url, dagsDir: folder, env: moving() }));
});
afterAll(async () => {
  for (const child of children) {
    child.kill("SIGCONT");
    await killProcess(child);
  }
  await network.stop();
  await rm(folder, { recursive: true, force: true });
});

const moving = (): Record<string, string> => ({ NODE_OPTIONS: `--import=${MOVED_CLOCK}` });

async function launch(starting: Promise<ChildProcess>): Promise<ChildProcess> {
  const child = await starting;
  children.push(child);
  return child;
}

type Options = { name: string; labels: string; url?: string; env?: Record<string, string>; healthPort?: number };

function launchWorker({ name, labels, url = database.url, env = {}, healthPort = 0 }: Options): Promise<ChildProcess> {
  const own = { SLUICE_WORKER_NAME: name, SLUICE_LABELS: labels, SLUICE_HOME: path.join(folder, `home-${name}`) };
  return launch(startWorker({ databaseUrl: url, dagsDir: folder, healthPort, env: { ...own, ...env } }));
}

/** The process of this attempt, as soon as it runs. */
async function pidOf(dag: string, attempt: number): Promise<number> {
  for (;;) {
    const text = await readFile(path.join(folder, `${dag}.pid.${attempt}`), "utf8").catch(() => "");
    if (text !== "") return Number(text);
    await delay(LOOK_AGAIN_MS);
  }
}

const letGo = (dag: string): Promise<void> => writeFile(path.join(folder, `${dag}.go`), "");

async function rowsOf<T>(sql: string, ...params: unknown[]): Promise<T[]> {
  return (await database.pool.query(sql, params)).rows as T[];
}

/** How the attempts of a run ended, in their order, once the run has. */
async function attemptsOf(runId: string): Promise<string[]> {
  while (["queued", "running"].includes(await runState(database.deps, runId))) await delay(LOOK_AGAIN_MS);
  const sql = "select state from sluice.attempt where task_instance_id >> 20 = $1 order by number";
  return (await rowsOf<{ state: string }>(sql, runId)).map(({ state }) => state);
}

/** Until the database has heard of the worker since this call, as one that takes work. */
async function isBack(name: string): Promise<void> {
  const [{ now }] = (await rowsOf<{ now: Date }>("select sluice.clock() as now")) as [{ now: Date }];
  const sql =
    "select from sluice.worker where id = $1 and state = 'active' and lease_until > $2::timestamptz + interval '30 s'";
  while ((await rowsOf(sql, name, now)).length === 0) await delay(LOOK_AGAIN_MS);
}

test("a network that is away for a moment costs no attempt, and what ended meanwhile is handed in", async () => {
  const worker = await launchWorker({ name: "brief", labels: "brief", url: network.url });
  const run = await start(database.deps, "brief");
  const pid = await pidOf("brief", 1);
  const refused = network.refuse(3);
  await letGo("brief");
  expect(await allEnded([pid], 60_000)).toBe(true);
  await refused;
  expect(await runState(database.deps, run)).toBe("running");
  network.restore();
  expect(await attemptsOf(run)).toEqual(["success"]);
  await isBack("brief");
  expect(worker.exitCode ?? worker.signalCode).toBeNull();
});

describe("a worker that the database does not hear of for longer than its lease", () => {
  let runs: { silent: string; stopped: string };
  let workers: { silent: ChildProcess; stopped: ChildProcess };
  const first = { silent: 0, stopped: 0 };

  beforeAll(async () => {
    const [silent, stopped] = await Promise.all([
      launchWorker({ name: "silent", labels: "silent", url: network.url }),
      launchWorker({ name: "stopped", labels: "stopped" }),
    ]);
    workers = { silent, stopped };
    runs = { silent: await start(database.deps, "silent"), stopped: await start(database.deps, "stopped") };
    for (const dag of ["silent", "stopped"] as const) first[dag] = await pidOf(dag, 1);
    await launchWorker({ name: "other", labels: "silent,stopped" });
    network.silence();
    stopped.kill("SIGSTOP");
  });

  test("behind a network that is silent, ends its task before another begins it, and works on when it is back", async () => {
    await pidOf("silent", 2);
    expect(isRunning(first.silent)).toBe(false);
    network.restore();
    await isBack("silent");
    await letGo("silent");
    expect(await attemptsOf(runs.silent)).toEqual(["lost", "success"]);
    expect(workers.silent.exitCode ?? workers.silent.signalCode).toBeNull();
  });

  test("because it stands still, hands in nothing and ends its task when it goes on", async () => {
    const second = await pidOf("stopped", 2);
    workers.stopped.kill("SIGCONT");
    expect(await allEnded([first.stopped], 60_000)).toBe(true);
    await isBack("stopped");
    expect(isRunning(second)).toBe(true);
    await letGo("stopped");
    expect(await attemptsOf(runs.stopped)).toEqual(["lost", "success"]);
    expect(workers.stopped.exitCode ?? workers.stopped.signalCode).toBeNull();
  });
});

test("a clock of a scheduler and a worker that jumps is nobody's time: the database's is", async () => {
  const port = await freePort();
  const worker = await launchWorker({ name: "clock", labels: "clock", env: moving(), healthPort: port });
  const began = await rowsOf("select sluice.clock() as now");
  const run = await start(database.deps, "clock");
  const pid = await pidOf("clock", 1);
  for (let step = 0; step < 2; step++) {
    for (const child of [children[0]!, worker]) {
      child.kill("SIGUSR2");
      const [{ clock }] = (await once(child, "message")) as [{ clock: number }];
      expect(Math.abs(clock - Date.now())).toBeGreaterThan(HOUR_MS);
    }
    // Twice: the first may have been under way.
    for (let beat = 0; beat < 2; beat++) await isBack("clock");
    expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(200);
  }
  expect(isRunning(pid)).toBe(true);
  await letGo("clock");
  expect(await attemptsOf(run)).toEqual(["success"]);
  const inside = `select from sluice.attempt where task_instance_id >> 20 = $1
    and started_at between $2 and sluice.clock() and ended_at between $2 and sluice.clock()`;
  expect(await rowsOf(inside, run, (began[0] as { now: Date }).now)).toHaveLength(1);
  expect(await rowsOf("select from sluice.dag_run where dag_id = 'soon'")).toEqual([]);
});
