import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { listen, type Listener } from "#lib/db/listen.ts";
import { createPool } from "#lib/db/pool.ts";
import { createEngineDeps, type EngineDeps } from "#lib/engine/deps.ts";
import { claim } from "#lib/engine/claim.ts";
import { finishAndContinue } from "#lib/engine/finish.ts";
import { createAdmissionLead } from "#lib/engine/lead-admission.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { startAllQueuedRuns } from "#lib/engine/start-all-queued-runs.ts";
import { sweep } from "#lib/engine/sweep.ts";
import { fan } from "../dags.ts";
import { figureOf, type Figure } from "../report.ts";
import { runSeconds } from "../runs.ts";
import type { System } from "../system.ts";
import type { MeasureContext } from "./measure.ts";

const WIDTH = 2_000;
const SLOTS = 8;
const CONNECTIONS = 20;
const SMALL = { workers: 2, schedulers: 1 };
const LARGE = { workers: 100, schedulers: 10 };
const LANES = { queues: ["default"], slotClass: "inline" } as const;
const CLAIM_ANYWAY_MS = 5_000;
const TURN_MS = 1_000;
const SWEEP_MS = 2_000;
const BUSY_MS = 50;

/**
 * The rate of a fan-out of tasks that end at once, with 100 workers and 10 schedulers, against that with 2 and 1: loops in this
 * process, on pooled connections, in alternating pairs. What more of them cost is what they cost the database.
 */
export async function scaleOut({ system, pairs }: MeasureContext): Promise<Figure[]> {
  await system.addDag("fan-scale", fan("fan-scale", WIDTH, "noop"));
  await system.drained();
  system.stand();
  // Its own worker and scheduler have no part in it.
  await system.pool.query("update sluice.worker set state = 'stopped'");
  await system.pool.query("delete from sluice.lease");
  const pool = createPool({ url: system.url, max: CONNECTIONS, name: "bench-scale" });
  const small: number[] = [];
  const large: number[] = [];
  try {
    await rate(system, pool, SMALL);
    for (let n = 0; n < pairs; n++) {
      small.push(await rate(system, pool, SMALL));
      large.push(await rate(system, pool, LARGE));
    }
  } finally {
    await pool.end();
    system.go();
  }
  const ratios = large.map((each, n) => each / small[n]!);
  return [
    figureOf({ id: "scaleout.2x1", kind: "F", unit: "tasks/s", runs: small }),
    figureOf({ id: "scaleout.100x10", kind: "F", unit: "tasks/s", runs: large }),
    figureOf({ id: "scaleout.ratio", kind: "F", unit: "×", runs: ratios, target: { atLeast: 0.8 } }),
  ];
}

type Size = { workers: number; schedulers: number };

async function rate(system: System, pool: EngineDeps["pool"], { workers, schedulers }: Size): Promise<number> {
  const stopping = new AbortController();
  const loops: Promise<void>[] = [];
  const listeners: Listener[] = [];
  const wakes = new Set<() => void>();
  const base = { ...system.deps, pool };
  const every = (ms: number, work: () => Promise<unknown>): void => {
    const loop = async (): Promise<void> => {
      while (!stopping.signal.aborted) {
        await work();
        await delay(ms, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    };
    loops.push(loop());
  };
  for (let n = 0; n < schedulers; n++) {
    const lead = createAdmissionLead(randomUUID());
    const deps = createEngineDeps({ ...base, requestPass: lead.request });
    listeners.push(hears(system.deps, "sluice_admission", () => void lead.requested(deps)));
    every(TURN_MS, () => lead.turn(deps));
    every(SWEEP_MS, () => startAllQueuedRuns(deps));
    every(SWEEP_MS, () => sweep(deps));
  }
  for (let n = 0; n < workers; n++) {
    const deps = createEngineDeps(base);
    loops.push(workerLoop(deps, `scale-${n}`, wakes, stopping.signal));
  }
  listeners.push(hears(system.deps, "sluice_tasks", () => wakes.forEach((wake) => wake())));
  const runId = await system.trigger("fan-scale");
  await system.ended(runId);
  stopping.abort();
  wakes.forEach((wake) => wake());
  await Promise.all(loops);
  await Promise.all(listeners.map((listener) => listener.stop()));
  await pool.query("update sluice.worker set state = 'stopped'");
  await pool.query("delete from sluice.lease");
  return (WIDTH + 2) / (await runSeconds(system.pool, runId));
}

function hears(addresses: EngineDeps, channel: "sluice_admission" | "sluice_tasks", onValue: () => void): Listener {
  return listen({ addresses, hears: { [channel]: onValue }, onReconnect: onValue, onError: () => undefined });
}

/** Claims, ends what it has claimed, and claims again; with nothing to do it waits until it hears of something. */
async function workerLoop(deps: EngineDeps, id: string, wakes: Set<() => void>, stopping: AbortSignal): Promise<void> {
  const worker = await registerWorker(deps, {
    id,
    host: "bench",
    pid: process.pid,
    version: "bench",
    queues: ["default"],
    processSlots: 0,
    functionSlots: 0,
    inlineSlots: SLOTS,
    cpu: 0,
    memory: 0,
    offers: [],
    isAnonymous: false,
  });
  let isWoken = false;
  let resume = (): void => undefined;
  const wake = (): void => {
    isWoken = true;
    resume();
  };
  wakes.add(wake);
  while (!stopping.aborted) {
    isWoken = false;
    const { claimed } = await claim(deps, worker, LANES, Array.from({ length: SLOTS }, deps.newToken));
    if (claimed.length > 0) {
      let ends = claimed.map(({ taskInstanceId, token }) => {
        return { taskInstanceId, token, state: "success" as const, reason: "EXIT" };
      });
      while (ends.length > 0) {
        const { busy } = await finishAndContinue(deps, ends, `worker:${id}`);
        ends = ends.filter(({ taskInstanceId }) => busy.has(taskInstanceId));
        if (ends.length > 0) await delay(BUSY_MS);
      }
      continue;
    }
    if (isWoken) continue;
    const { promise, resolve } = Promise.withResolvers<void>();
    resume = resolve;
    const timer = setTimeout(resolve, CLAIM_ANYWAY_MS);
    await promise;
    clearTimeout(timer);
  }
}
