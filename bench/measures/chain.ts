import { chain } from "../dags.ts";
import { type Figure, figureOf, percentile } from "../report.ts";
import { runSeconds, stepsMs } from "../runs.ts";
import type { Measure, MeasureContext } from "./measure.ts";

/** B2: a chain of 500; chains of 40 × fibo(10) and 40 × `sh -c true`. */
export const chainSteps: Measure = async (context) => {
  const { system, limits, times } = context;
  await system.addDag("chain-500", chain("chain-500", 500));
  const p99: number[] = [];
  const p50 = await times(async () => {
    const steps = await chainRun(context, "chain-500");
    p99.push(percentile(steps, 99));
    return percentile(steps, 50);
  });
  const chainOf40 = async (body: "fibo" | "process"): Promise<number[]> => {
    await system.addDag(`chain-${body}-40`, chain(`chain-${body}-40`, 40, body));
    return times(async () => {
      const runId = await system.trigger(`chain-${body}-40`);
      await system.drained();
      return 1_000 * (await runSeconds(system.pool, runId));
    });
  };
  const fibo = await chainOf40("fibo");
  const processes = await chainOf40("process");
  const figures: Figure[] = [
    figureOf({
      id: "B2.step.p50",
      kind: "F",
      unit: "ms",
      runs: p50,
      target: { atMost: 1 },
      limit: { figure: limits.commitMs },
    }),
    // The first is the warm-up's.
    figureOf({ id: "B2.step.p99", kind: "F", unit: "ms", runs: p99.slice(1), target: { atMost: 4 } }),
    figureOf({ id: "B2.fibo-40", kind: "W", unit: "ms", runs: fibo, target: { atMost: 80 } }),
    figureOf({ id: "B2.true-40", kind: "P", unit: "ms", runs: processes, target: { atMost: 250 } }),
  ];
  return figures;
};

/** B2L: the last hundred steps of a chain of 1,000 against the first hundred. */
export const longChain: Measure = async (context) => {
  await context.system.addDag("chain-1000", chain("chain-1000", 1_000));
  const runs = await context.times(async () => {
    const steps = await chainRun(context, "chain-1000");
    return percentile(steps.slice(-100), 50) / percentile(steps.slice(0, 100), 50);
  });
  return [figureOf({ id: "B2L.last-to-first", kind: "F", unit: "×", runs, target: { atMost: 1.2 } })];
};

async function chainRun({ system }: MeasureContext, dagId: string): Promise<number[]> {
  const runId = await system.trigger(dagId);
  await system.drained();
  await runSeconds(system.pool, runId);
  return stepsMs(system.pool, runId);
}
