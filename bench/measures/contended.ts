import { setTimeout as delay } from "node:timers/promises";
import { upsertPool } from "#lib/db/pools.ts";
import { fillHistory } from "#lib/testing/history.ts";
import { postgresCpuMs } from "../cpu.ts";
import { chain, join, single } from "../dags.ts";
import { type Figure, figureOf, percentile } from "../report.ts";
import { stepsMs } from "../runs.ts";
import { startSystem, type System } from "../system.ts";
import type { Measure } from "./measure.ts";

const DAGS = 2_000;
const STEPS = 100;
const PARENTS = 3_000;
/** What was due while the system stood still, a regular pass over 2,000 classes among it, is no part of a step. */
const CATCH_UP_MS = 1_500;

/**
 * A step of a chain while 2,000 ready DAGs wait for another lane, all of whose slots are taken, or for a pool, against a step
 * alone. Each on a system of its own, measured in turn; a system's processes stand still while another is measured.
 */
export const contended: Measure = async ({ system, times }) => {
  const lane = await startSystem();
  const pool = await startSystem();
  const systems = { alone: system, lane, pool };
  const names = ["alone", "lane", "pool"] as const;
  const steps: Record<(typeof names)[number], number[]> = { alone: [], lane: [], pool: [] };
  const cpuMs: Record<(typeof names)[number], number[]> = { alone: [], lane: [], pool: [] };
  try {
    for (const one of Object.values(systems)) await one.addDag("chain", chain("chain", STEPS));
    await holdLane(lane);
    await holdPool(pool);
    for (const one of Object.values(systems)) one.stand();
    await times(async () => {
      for (const name of names) {
        const one = systems[name];
        one.go();
        await delay(CATCH_UP_MS);
        const before = await postgresCpuMs(one.pids.postgres);
        const runId = await one.trigger("chain");
        await one.ended(runId);
        cpuMs[name].push(((await postgresCpuMs(one.pids.postgres)) - before) / STEPS);
        steps[name].push(percentile(await stepsMs(one.pool, runId), 50));
        one.stand();
      }
      return 0;
    });
  } finally {
    for (const one of Object.values(systems)) one.go();
    await lane.stop();
    await pool.stop();
  }
  const alone = percentile(steps.alone.slice(1), 50);
  return names.flatMap((name) => [
    figureOf({
      id: `contended.${name}`,
      kind: "F",
      unit: "ms a step",
      runs: steps[name].slice(1),
      ...(name === "alone" ? {} : { limit: { figure: alone, target: { atMost: 1.2 } } }),
    }),
    figureOf({ id: `contended.postgres.${name}`, kind: "cost", unit: "ms a step", runs: cpuMs[name].slice(1) }),
  ]);
};

const HISTORY = { generations: 1, endedRuns: 20_000, dags: DAGS, readyRunsPerDag: 20 };
const SLEEP = 'bash({ command: "sleep 3600" })';

/** One worker serves the lane that the 2,000 DAGs want, and its only slot is taken for an hour. */
async function holdLane(system: System): Promise<void> {
  await system.startWorker({ SLUICE_WORKER_NAME: "busy", SLUICE_QUEUES: "busy", SLUICE_PROCESS_SLOTS: "1" });
  await system.addDag("holder", single("holder", `{ queue: "busy" }, ${SLEEP}`));
  await system.trigger("holder");
  await fillHistory(system.deps, { ...HISTORY, task: { type: "bash", config: { command: "true" }, queue: "busy" } });
}

/** The pool that they want has one slot, which is taken. */
async function holdPool(system: System): Promise<void> {
  await upsertPool(system.pool, "busy", 1, undefined);
  await system.addDag("holder", single("holder", `{ pool: "busy" }, ${SLEEP}`));
  await system.trigger("holder");
  await fillHistory(system.deps, { ...HISTORY, task: { pool: "busy" } });
}

/** An end of one of 3,000 parents of a join, with a parent that has failed before and without. */
export const joins: Measure = async ({ system, times }) => {
  const kinds = ["clean", "failed"] as const;
  const rates: Record<(typeof kinds)[number], number[]> = { clean: [], failed: [] };
  for (const kind of kinds) await system.addDag(`join-${kind}`, join(`join-${kind}`, PARENTS, kind === "failed"));
  await times(async () => {
    for (const kind of kinds) {
      const runId = await system.trigger(`join-${kind}`);
      await system.drained();
      rates[kind].push((1_000 * (await parentsSeconds(system, runId))) / PARENTS);
    }
    return 0;
  });
  const clean = figureOf({ id: "join.clean", kind: "F", unit: "ms an end", runs: rates.clean.slice(1) });
  const figures: Figure[] = [
    clean,
    figureOf({
      id: "join.failed",
      kind: "F",
      unit: "ms an end",
      runs: rates.failed.slice(1),
      limit: { figure: clean.figure, target: { atMost: 1.2 } },
    }),
  ];
  return figures;
};

/** From the end of the gate, after which the parents start, to the last of their ends. */
async function parentsSeconds({ pool }: System, runId: string): Promise<number> {
  const { rows } = await pool.query<{ seconds: number }>(
    `select extract(epoch from max(p.ended_at) - min(g.ended_at))::float8 as seconds
       from sluice.task_instance g, sluice.task_instance p
      where g.id = $1::bigint << 20 | 1 and p.id between $1::bigint << 20 | 2 and $1::bigint << 20 | ${PARENTS + 1}`,
    [runId],
  );
  return rows[0]!.seconds;
}
