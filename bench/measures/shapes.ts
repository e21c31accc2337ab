import { fan, independent, layers, random } from "../dags.ts";
import { figureOf } from "../report.ts";
import { runSeconds } from "../runs.ts";
import { residentBytes } from "../system.ts";
import type { Measure } from "./measure.ts";

/** B3: 100 layers of 100, all to all, against as many tasks without an edge. */
export const denseLayers: Measure = async ({ system, times }) => {
  await system.addDag("independent-10000", independent("independent-10000", 10_000));
  await system.addDag("layers-100", layers("layers-100", 100, 100));
  const created: number[] = [];
  const seconds = async (dagId: string): Promise<number> => {
    const started = performance.now();
    const runId = await system.trigger(dagId);
    if (dagId === "layers-100") created.push((performance.now() - started) / 1_000);
    await system.drained();
    return runSeconds(system.pool, runId);
  };
  const plain = await times(() => seconds("independent-10000"));
  const dense = await times(() => seconds("layers-100"));
  const base = figureOf({ id: "B3.independent", kind: "F", unit: "s", runs: plain });
  return [
    base,
    figureOf({
      id: "B3.layers",
      kind: "F",
      unit: "s",
      runs: dense,
      limit: { figure: base.figure, target: { atMost: 1.5 } },
    }),
    figureOf({ id: "B3.created", kind: "F", unit: "s", runs: created.slice(1), target: { atMost: 2 } }),
  ];
};

/** B5: 10,000 tasks in random order, against 1 → 10,000 → 1. */
export const randomDag: Measure = async ({ system, times }) => {
  await system.addDag("fan-noop-10000", fan("fan-noop-10000", 10_000));
  await system.addDag("random-10000", random("random-10000", 10_000));
  const created: number[] = [];
  const rate = async (dagId: string, tasks: number): Promise<number> => {
    const started = performance.now();
    const runId = await system.trigger(dagId);
    if (dagId === "random-10000") created.push((performance.now() - started) / 1_000);
    await system.drained();
    return tasks / (await runSeconds(system.pool, runId));
  };
  const wide = await times(() => rate("fan-noop-10000", 10_002));
  const memory = async (): Promise<number> =>
    Math.max(await residentBytes(system.pids.worker), await residentBytes(system.pids.scheduler)) / 2 ** 20;
  const before = await memory();
  const runs = await times(() => rate("random-10000", 10_000));
  const base = figureOf({ id: "B5.fan-out", kind: "F", unit: "tasks/s", runs: wide });
  return [
    base,
    figureOf({
      id: "B5.random",
      kind: "F",
      unit: "tasks/s",
      runs,
      limit: { figure: base.figure, target: { atLeast: 0.8 } },
    }),
    figureOf({ id: "B5.created", kind: "F", unit: "s", runs: created.slice(1), target: { atMost: 1 } }),
    figureOf({
      id: "B5.memory-growth",
      kind: "F",
      unit: "MiB",
      runs: [(await memory()) - before],
      target: { atMost: 20 },
    }),
  ];
};
