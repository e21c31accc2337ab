import { setTimeout as delay } from "node:timers/promises";
import { fillHistory } from "#lib/testing/history.ts";
import { postgresCpuMs } from "../cpu.ts";
import { below } from "../dags.ts";
import { type Figure, figureOf } from "../report.ts";
import { startSystem, type System } from "../system.ts";
import type { Measure } from "./measure.ts";

const CHILDREN = 10_000;
const OPEN_TASKS = 20_000;
const GIVEN_UP_MS = 60_000;
const LOOK_MS = 10;

/** 10,000 children settle after their root failed, with one generation and with six; the two are measured in turn. */
export const settle: Measure = async ({ system, times }) => {
  const old = await startSystem();
  try {
    await fillHistory(old.deps, {
      generations: 6,
      endedRuns: 60_000,
      dags: 2_000,
      readyRunsPerDag: 1,
      task: { queue: "elsewhere" },
    });
    const systems = { 1: system, 6: old };
    const seconds: Record<1 | 6, number[]> = { 1: [], 6: [] };
    const cpuMs: Record<1 | 6, number[]> = { 1: [], 6: [] };
    for (const one of [system, old]) await one.addDag("failing-root", below("failing-root", CHILDREN));
    await times(async () => {
      for (const generations of [1, 6] as const) {
        const { pids } = systems[generations];
        const before = await postgresCpuMs(pids.postgres);
        seconds[generations].push(await settled(systems[generations]));
        cpuMs[generations].push((await postgresCpuMs(pids.postgres)) - before);
      }
      return 0;
    });
    return ([1, 6] as const).flatMap((generations) => [
      figureOf({
        id: `settle.generations-${generations}`,
        kind: "F",
        unit: "s",
        runs: seconds[generations].slice(1),
        target: { atMost: 2.5 },
      }),
      figureOf({
        id: `settle.postgres.generations-${generations}`,
        kind: "cost",
        unit: "ms",
        runs: cpuMs[generations].slice(1),
      }),
    ]);
  } finally {
    await old.stop();
  }
};

/** Seconds from the end of the root to the end of its run. */
async function settled({ pool, trigger }: System): Promise<number> {
  const runId = await trigger("failing-root");
  for (const end = performance.now() + GIVEN_UP_MS; performance.now() < end; await delay(LOOK_MS)) {
    const { rows } = await pool.query<{ seconds: number | null }>(
      `select extract(epoch from r.ended_at - t.ended_at)::float8 as seconds
         from sluice.dag_run r join sluice.task_instance t on t.id = r.id << 20 where r.id = $1`,
      [runId],
    );
    const seconds = rows[0]?.seconds ?? null;
    if (seconds !== null) return seconds;
  }
  return GIVEN_UP_MS / 1_000;
}

/** A person cancels a run with 20,000 open tasks: when the call returns, and when the run has ended. */
export const cancel: Measure = async ({ system, times }) => {
  const tasks = Array.from({ length: OPEN_TASKS }, (_, n) => ({ id: `t${n}`, bash: "true", queue: "nowhere" }));
  // No program builds it: that would take longer than a file may.
  await system.addDag("open", JSON.stringify({ id: "open", tasks }), "json");
  const complete: number[] = [];
  const returns = await times(async () => {
    const runId = await system.trigger("open");
    const began = performance.now();
    await system.cancel(runId);
    const returned = performance.now() - began;
    await system.drained();
    complete.push((performance.now() - began) / 1_000);
    return returned / 1_000;
  });
  const figures: Figure[] = [
    figureOf({ id: "cancel.returns", kind: "F", unit: "s", runs: returns, target: { atMost: 2 } }),
    figureOf({ id: "cancel.complete", kind: "F", unit: "s", runs: complete.slice(1), target: { atMost: 10 } }),
  ];
  return figures;
};
