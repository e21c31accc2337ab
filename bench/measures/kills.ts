import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { cancelRun } from "#lib/engine/run-actions.ts";
import { isRunning } from "#lib/testing/processes.ts";
import { fan, independent } from "../dags.ts";
import { type Figure, figureOf, percentile } from "../report.ts";
import { startSystem, type System } from "../system.ts";

const ROUNDS = 5;
const VICTIMS = 10;
const LOOK_MS = 100;
const WAIT_MS = 120_000;

const TERMINATED = 8;
const LOAD_TASKS = 2_000;

/**
 * Workers that are killed, fifty of them, ten at a time: how long until what they ran runs elsewhere, and what is left
 * alive of them. And workers that are told to stop while they have much to do: what fails of that, or is lost.
 */
export async function kills(): Promise<Figure[]> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-kills-"));
  await chmod(folder, 0o777);
  // The worker that every system has is the one that takes over: it serves a queue that nobody uses until then.
  const system = await startSystem({ env: { SLUICE_PROCESS_SLOTS: String(VICTIMS), SLUICE_QUEUES: "default" } });
  try {
    return [...(await killed(system, folder)), ...(await terminated(system))];
  } finally {
    await system.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function killed(system: System, folder: string): Promise<Figure[]> {
  const command = `echo $$ > ${folder}/$SLUICE_RUN_ID.$SLUICE_TASK_ID.$SLUICE_ATTEMPT; (trap "" TERM; sleep 600) & exec sleep 600`;
  await system.addDag("held", independent("held", VICTIMS, { command, queue: "victims" }));
  const seconds: number[] = [];
  let alive = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const victims = await Promise.all(
      Array.from({ length: VICTIMS }, (_, n) =>
        system.startWorker({
          SLUICE_WORKER_NAME: `victim-${round}-${n}`,
          SLUICE_QUEUES: "victims",
          SLUICE_PROCESS_SLOTS: "1",
        }),
      ),
    );
    const runId = await system.trigger("held");
    await until(async () => (await pidFiles(folder, runId, 1)).length === VICTIMS);
    const heir = await system.startWorker({
      SLUICE_WORKER_NAME: `heir-${round}`,
      SLUICE_QUEUES: "victims",
      SLUICE_PROCESS_SLOTS: String(2 * VICTIMS),
    });
    // At any time of their heartbeats.
    await delay(Math.random() * 5_000);
    const { rows } = await system.pool.query<{ at: Date }>("select sluice.clock() as at");
    for (const victim of victims) victim.kill("SIGKILL");
    await until(async () => (await pidFiles(folder, runId, 2)).length === VICTIMS);
    const again = await system.pool.query<{ seconds: number }>(
      "select extract(epoch from started_at - $2)::float8 as seconds from sluice.live_attempt where task_instance_id >> 20 = $1::bigint",
      [runId, rows[0]!.at],
    );
    seconds.push(...again.rows.map((row) => row.seconds));
    for (const file of await pidFiles(folder, runId, 1))
      if (isRunning(Number(await readFile(path.join(folder, file), "utf8")))) alive++;
    await cancelRun(system.deps, runId, { actor: "bench" });
    await stopped(heir);
  }
  return [
    figureOf({ id: "kill.again.p99", kind: "P", unit: "s", runs: [percentile(seconds, 99)], target: { atMost: 35 } }),
    figureOf({ id: "kill.again.p50", kind: "P", unit: "s", runs: [percentile(seconds, 50)] }),
    figureOf({ id: "kill.alive", kind: "P", unit: "processes", runs: [alive], target: { atMost: 0 } }),
  ];
}

/** Workers come and go while there are more tasks than they can do at once. */
async function terminated(system: System): Promise<Figure[]> {
  await system.addDag("load-p", fan("load-p", LOAD_TASKS, { command: "sleep 0.0$((RANDOM % 10))" }));
  await system.addDag("load-w", fan("load-w", LOAD_TASKS, "fibo"));
  const ids = [await system.trigger("load-p"), await system.trigger("load-w")];
  for (let n = 0; n < TERMINATED; n++) {
    const worker = await system.startWorker({ SLUICE_WORKER_NAME: `coming-${n}`, SLUICE_QUEUES: "default" });
    await until(async () => {
      const { rowCount } = await system.pool.query("select from sluice.live_attempt where worker_id = $1 limit 1", [
        `coming-${n}`,
      ]);
      return rowCount === 1;
    });
    await stopped(worker);
  }
  await system.drained();
  const { rows } = await system.pool.query<{ failed: number; lost: number; open: number }>(
    `select count(*) filter (where state = 'failed')::int as failed, count(*) filter (where state = 'lost')::int as lost,
            (select count(*)::int from sluice.task_instance
              where run_id = any ($1::bigint[]) and (state <> 'success' or failures > 0)) as open
       from sluice.attempt where task_instance_id >> 20 = any ($1::bigint[])`,
    [ids],
  );
  const { failed, lost, open } = rows[0]!;
  return [
    figureOf({ id: "terminate.failed", kind: "P", unit: "attempts", runs: [failed], target: { atMost: 0 } }),
    figureOf({ id: "terminate.not-done", kind: "P", unit: "tasks", runs: [open], target: { atMost: 0 } }),
    figureOf({ id: "terminate.begun-again", kind: "P", unit: "attempts", runs: [lost] }),
  ];
}

async function pidFiles(folder: string, runId: string, attempt: number): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.startsWith(`${runId}.`) && name.endsWith(`.${attempt}`));
}

async function stopped(worker: ChildProcess): Promise<void> {
  const exited = once(worker, "exit");
  worker.kill("SIGTERM");
  await exited;
}

async function until(isDone: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + WAIT_MS; !(await isDone()); await delay(LOOK_MS))
    if (performance.now() > end) throw new Error("it did not happen within two minutes");
}
