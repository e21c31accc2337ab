import { fan } from "../dags.ts";
import { type Figure, figureOf } from "../report.ts";
import { runSeconds } from "../runs.ts";
import type { Measure } from "./measure.ts";

/** B1: 1 → n → 1, tasks a second from the start of the run to its end. */
export const fanOut: Measure = async ({ system, limits, times }) => {
  const figures: Figure[] = [];
  for (const [body, kind, widths] of [
    ["noop", "F", [1_000, 10_000]],
    ["fibo", "W", [1_000]],
  ] as const) {
    for (const width of widths) {
      const id = `fan-${body}-${width}`;
      await system.addDag(id, fan(id, width, body));
      const runs = await times(async () => {
        const runId = await system.trigger(id);
        await system.drained();
        return (width + 2) / (await runSeconds(system.pool, runId));
      });
      const target = { atLeast: kind === "F" ? 5_000 : 2_500 };
      const limit = { figure: limits.pgBossPerS, target: { atLeast: 0.2 } };
      figures.push(
        figureOf({ id: `B1.${width}`, kind, unit: "tasks/s", runs, target, ...(kind === "F" ? { limit } : {}) }),
      );
    }
  }
  return figures;
};
