/**
 * Measures what performance is promised of: `npm run bench -- B1 B2 --json`. Without names, everything. Not a test:
 * a figure that falls short is printed as it is.
 */
import os from "node:os";
import { parseArgs } from "node:util";
import { fillHistory } from "#lib/testing/history.ts";
import { type Limits, measureLimits } from "./limits.ts";
import { admission } from "./measures/admission.ts";
import { chainSteps, longChain } from "./measures/chain.ts";
import { contended, joins } from "./measures/contended.ts";
import { cost } from "./measures/cost.ts";
import { failover } from "./measures/failover.ts";
import { fanOut } from "./measures/fan-out.ts";
import { idleStart } from "./measures/idle-start.ts";
import { kills } from "./measures/kills.ts";
import { logs } from "./measures/logs.ts";
import { manyRuns } from "./measures/many-runs.ts";
import { memory } from "./measures/memory.ts";
import type { Measure } from "./measures/measure.ts";
import { processes } from "./measures/processes.ts";
import { scaleOut } from "./measures/scale-out.ts";
import { schedules } from "./measures/schedules.ts";
import { retention } from "./measures/retention.ts";
import { denseLayers, randomDag } from "./measures/shapes.ts";
import { cancel, settle } from "./measures/settle.ts";
import { steady } from "./measures/steady.ts";
import { type Figure, tableLine } from "./report.ts";
import { runStoppable } from "./stopping.ts";
import { startSystem } from "./system.ts";

const MEASURES: Record<string, Measure> = {
  B1: fanOut,
  B1P: processes,
  B2: chainSteps,
  B2L: longChain,
  B3: denseLayers,
  B4: manyRuns,
  B5: randomDag,
  B6: idleStart,
  B7: schedules,
  B8: logs,
  B10: steady,
  admission,
  cancel,
  contended,
  cost,
  failover,
  join: joins,
  kills,
  memory,
  retention,
  scaleout: scaleOut,
  settle,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    runs: { type: "string", default: "5" },
    minutes: { type: "string", default: "2" },
    // Ended task instances, in six generations and of 2,000 DAGs, that the system has before it is measured.
    history: { type: "string", default: "0" },
    rows: { type: "string", default: "1000000" },
  },
});
const names = positionals.length === 0 ? Object.keys(MEASURES) : positionals;
const unknown = names.filter((name) => !(name in MEASURES));
if (unknown.length > 0) {
  process.stderr.write(`bench: no measure ${unknown.join(", ")}; there are ${Object.keys(MEASURES).join(", ")}\n`);
  process.exit(2);
}

const say = (figure: Figure): void => {
  process.stdout.write(`${values.json ? JSON.stringify(figure) : tableLine(figure)}\n`);
};
const times = async (run: () => Promise<number>): Promise<number[]> => {
  await run();
  const figures: number[] = [];
  for (let n = 0; n < Number(values.runs); n++) figures.push(await run());
  return figures;
};

if (!values.json) {
  process.stdout.write(`Node ${process.version}, ${os.availableParallelism()} × ${os.cpus()[0]?.model ?? "?"}\n`);
}
await runStoppable(async () => {
  let limits: Limits | undefined;
  for (const name of names) {
    // Each on a system of its own: no measure finds the rows of another.
    const system = await startSystem();
    try {
      const endedRuns = Number(values.history);
      if (endedRuns > 0)
        await fillHistory(system.deps, {
          generations: 6,
          endedRuns,
          dags: 2_000,
          readyRunsPerDag: 0,
          task: { queue: "elsewhere" },
        });
      if (limits === undefined) {
        limits = await measureLimits(system);
        limits.figures.forEach(say);
      }
      const figures = await MEASURES[name]!({
        system,
        limits,
        times,
        pairs: Number(values.runs),
        minutes: Number(values.minutes),
        rows: Number(values.rows),
      });
      figures.forEach(say);
    } finally {
      await system.stop();
    }
  }
});
