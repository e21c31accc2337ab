import type { ChildProcess } from "node:child_process";
import { EventEmitter } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { engineDeps } from "#lib/boot.ts";
import { isDatabaseUnreachable } from "#lib/db/database-errors.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { install } from "#lib/engine/install.ts";
import { announceRequest } from "#lib/engine/lead-admission.ts";
import { startRun } from "#lib/engine/start-run.ts";
import { createLogger } from "#lib/obs/log.ts";
import { killProcess, startScheduler, startWorker } from "#lib/testing/scheduler-process.ts";
import { type Database, openDatabase } from "./database.ts";

// The smallest part of `sluice start` that shows it: its Postgres as it keeps it, a scheduler, a worker, and work that goes on.

const LOOK_AGAIN_MS = 50;
const BACK = "Postgres takes connections again";

let folder: string;
let database: Database;
let deps: EngineDeps;
let children: ChildProcess[];
const said: string[] = [];
const saying = new EventEmitter();

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-faults-"));
  // Root's temporary folder is private, and Postgres runs as another user.
  await chmod(folder, 0o711);
  const home = { postgres: path.join(folder, "postgres"), logs: path.join(folder, "logs") };
  const dagsDir = path.join(folder, "dags");
  await Promise.all([mkdir(home.logs), mkdir(dagsDir)]);
  const say = (line: string): void => {
    said.push(line);
    saying.emit("line", line);
  };
  database = await openDatabase(undefined, home, say, new AbortController().signal);
  const log = createLogger({ level: "fatal", component: "test" });
  deps = engineDeps({ databaseUrl: database.url }, { name: "test", connections: 4 }, log, announceRequest);
  await install(database.url);
  await writeDag(dagsDir, "short", [
    { id: "a", bash: "true" },
    { id: "b", dependsOn: ["a"], bash: "true" },
  ]);
  // It runs for as long as nobody has made its file, so through the whole fault.
  const wait = `until [ -e ${folder}/released-$NAME ]; do sleep 0.1; done`;
  await writeDag(dagsDir, "long", [{ id: "a", env: { NAME: "${{ params.name }}" }, bash: wait }], {
    name: { type: "string" },
  });
  children = await Promise.all([
    startScheduler({ databaseUrl: database.url, dagsDir }),
    startWorker({ databaseUrl: database.url, dagsDir }),
  ]);
  await deps.queue.start();
});

afterAll(async () => {
  for (const child of children) await killProcess(child);
  await deps.notifier.flush();
  await deps.queue.stop();
  await deps.pool.end();
  await database.stop(1_500);
  await rm(folder, { recursive: true, force: true });
});

async function writeDag(dagsDir: string, id: string, tasks: object[], params: object = {}): Promise<void> {
  await writeFile(path.join(dagsDir, `${id}.yaml`), JSON.stringify({ id, params, tasks }));
}

const pidFile = (): string => path.join(folder, "postgres", "data", "postmaster.pid");

async function postmaster(): Promise<number> {
  return Number((await readFile(pidFile(), "utf8")).split("\n")[0]);
}

/** What a client does that must not lose its request: it sends it again, under its key, until it has an answer. */
async function insist<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isDatabaseUnreachable(error)) throw error;
      await delay(LOOK_AGAIN_MS);
    }
  }
}

async function trigger(dagId: string, key: string, conf: Record<string, string> = {}): Promise<string> {
  const request = { dagId, conf, triggerKind: "api", actor: "test", idempotencyKey: key } as const;
  return (await insist(() => startRun(deps, request))).runId;
}

/** Triggers one run after the other; `more(n)` resolves when n more have been acknowledged. */
function keepTriggering(name: string): { more(n: number): Promise<void>; stop(): Promise<string[]> } {
  const ids: string[] = [];
  const acknowledged = new EventEmitter();
  const stopping = new AbortController();
  const done = (async () => {
    while (!stopping.signal.aborted) {
      ids.push(await trigger("short", `${name}-${ids.length}`));
      acknowledged.emit("one");
    }
  })();
  return {
    async more(n) {
      const target = ids.length + n;
      while (ids.length < target) await Promise.race([new Promise((one) => acknowledged.once("one", one)), done]);
    },
    async stop() {
      stopping.abort();
      await done;
      return ids;
    },
  };
}

function saysAgain(text: string): Promise<void> {
  return new Promise((resolve) => {
    saying.on("line", function heard(line: string) {
      if (!line.startsWith(text)) return;
      saying.off("line", heard);
      resolve();
    });
  });
}

async function count(sql: string, ids: readonly string[]): Promise<number> {
  return await insist(async () => {
    const { rows } = await deps.pool.query<{ n: number }>(sql, [ids]);
    return rows[0]!.n;
  });
}

async function until(what: string, ids: readonly string[], n: number): Promise<void> {
  while ((await count(what, ids)) !== n) await delay(LOOK_AGAIN_MS);
}

const ENDED = "select count(*)::int as n from sluice.dag_run where id = any ($1) and ended_at is not null";
const RUNNING = "select count(*)::int as n from sluice.task_instance where run_id = any ($1) and state = 'running'";
const SUCCEEDED = "select count(*)::int as n from sluice.dag_run where id = any ($1) and state = 'success'";
const TASKS = "select count(*)::int as n from sluice.task_instance where run_id = any ($1)";
const ACCEPTED = `select count(*)::int as n from sluice.attempt a join sluice.task_instance t on t.id = a.task_instance_id
  where t.run_id = any ($1) and a.state = 'success'`;
// What its worker never began it gives back, and nobody counts that: a claim whose answer was lost, or one ahead of a slot.
const FALSELY_LOST = `select a.state, a.reason, a.error from sluice.attempt a join sluice.task_instance t on t.id = a.task_instance_id
  where t.run_id = any ($1) and a.state <> 'success' and a.reason not in ('REPLY_LOST', 'NOT_BEGUN')`;

async function survives(name: string, fault: () => Promise<unknown>): Promise<void> {
  const long = await trigger("long", name, { name });
  await until(RUNNING, [long], 1);
  const work = keepTriggering(name);
  await work.more(3);
  await fault();
  await work.more(5);
  const runs = [long, ...(await work.stop())];
  await writeFile(path.join(folder, `released-${name}`), "");
  await until(ENDED, runs, runs.length);
  expect(await count(SUCCEEDED, runs)).toBe(runs.length);
  expect(await count(ACCEPTED, runs)).toBe(await count(TASKS, runs));
  expect((await insist(() => deps.pool.query(FALSELY_LOST, [runs]))).rows).toEqual([]);
  expect(children.map(({ exitCode, signalCode }) => exitCode ?? signalCode)).toEqual([null, null]);
  const findings = await insist(() => inTx(deps.pool, checkInvariants));
  expect(findings.filter(({ broken }) => broken.length > 0)).toEqual([]);
}

test.each(["SIGTERM", "SIGINT", "SIGQUIT", "SIGKILL"] as const)(
  "a Postgres that others end by %s is started again, with nothing lost and no process ended",
  async (signal) => {
    const pid = await postmaster();
    await survives(signal, async () => {
      const back = saysAgain(BACK);
      process.kill(pid, signal);
      await back;
    });
    expect(await postmaster()).not.toBe(pid);
  },
);

test("one whose pid file was deleted is ended and started again", async () => {
  const before = said.length;
  await survives("no-file", async () => {
    const back = saysAgain(BACK);
    await rm(pidFile());
    await back;
  });
  expect(said.slice(before).join("\n")).toContain("has lost its folder: postmaster.pid is not in");
});

test("one of whose sessions is killed ends all of them and recovers by itself", async () => {
  const before = said.length;
  const pid = await postmaster();
  await survives("session", async () => {
    const { rows } = await insist(() =>
      deps.pool.query<{ pid: number }>("select pid from pg_stat_activity where application_name = 'sluice-worker'"),
    );
    process.kill(rows[0]!.pid, "SIGKILL");
    // All sessions end with that one, so this one waits for nothing else.
    await insist(() => deps.pool.query("select 1"));
  });
  expect(await postmaster()).toBe(pid);
  expect(said.slice(before)).toEqual([]);
});
