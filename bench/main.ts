/**
 * Measures what performance is promised of: `npm run bench -- B1 B2 --json`. Without names, everything but `peers`, which
 * installs what it measures Sluice beside. Not a test: a figure that falls short is printed as it is.
 */
import os from "node:os";
import { parseArgs } from "node:util";
import { measureBoth, startBoth } from "./beside-history.ts";
import { peersTable } from "./engines/table.ts";
import { type Limits, measureLimits } from "./limits.ts";
import { admission } from "./measures/admission.ts";
import { chainSteps, longChain } from "./measures/chain.ts";
import { contended, joins } from "./measures/contended.ts";
import { cost } from "./measures/cost.ts";
import { failover } from "./measures/failover.ts";
import { fanOut } from "./measures/fan-out.ts";
import { hostile } from "./measures/hostile.ts";
import { idleStart } from "./measures/idle-start.ts";
import { kills } from "./measures/kills.ts";
import { logs } from "./measures/logs.ts";
import { manyRuns } from "./measures/many-runs.ts";
import { memory } from "./measures/memory.ts";
import type { Measure } from "./measures/measure.ts";
import { peers } from "./measures/peers.ts";
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
  hostile,
  join: joins,
  kills,
  memory,
  peers,
  retention,
  scaleout: scaleOut,
  settle,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    runs: { type: "string" },
    minutes: { type: "string", default: "2" },
    // Each measure on a system with months of history and on an empty one, in turn.
    history: { type: "boolean", default: false },
    // Ended task instances that are this history, in six generations and of 2,000 DAGs.
    "history-tasks": { type: "string", default: "10000000" },
    rows: { type: "string", default: "1000000" },
  },
});
/** Those which install or need more than the project has are asked for by name. */
const BY_NAME: readonly string[] = ["peers"];
/** Those which measure the system that they are given, so that it can be one with history. */
const WITH_HISTORY: readonly string[] = ["B1", "B2", "B2L", "B3", "B4", "B5", "B6", "B7", "join"];
const known = values.history ? WITH_HISTORY : Object.keys(MEASURES);
const names = positionals.length === 0 ? known.filter((name) => !BY_NAME.includes(name)) : positionals;
/** How often each is measured, and as many times in turn with something else. */
const runs = Number(values.runs ?? 5);
const pairs = Number(values.runs ?? 7);
const unknown = names.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`bench: no measure ${unknown.join(", ")}; there are ${known.join(", ")}\n`);
  process.exit(2);
}

const say = (figure: Figure): void => {
  process.stdout.write(`${values.json ? JSON.stringify(figure) : tableLine(figure)}\n`);
};
const times = async (run: () => Promise<number>): Promise<number[]> => {
  await run();
  const figures: number[] = [];
  for (let n = 0; n < runs; n++) figures.push(await run());
  return figures;
};

if (!values.json) {
  process.stdout.write(`Node ${process.version}, ${os.availableParallelism()} × ${os.cpus()[0]?.model ?? "?"}\n`);
}
const minutes = Number(values.minutes);
const rows = Number(values.rows);
await runStoppable(values.history ? besideHistory : eachAlone);

/** Each on a system of its own: no measure finds the rows of another. */
async function eachAlone(): Promise<void> {
  let limits: Limits | undefined;
  for (const name of names) {
    const system = await startSystem();
    try {
      limits ??= await measureLimits(system, say);
      const figures = await MEASURES[name]!({ system, limits, times, pairs, minutes, rows });
      figures.forEach(say);
      if (name === "peers" && !values.json) process.stdout.write(peersTable(figures));
    } finally {
      await system.stop();
    }
  }
}

/** All on one pair of systems: the history is made once. */
async function besideHistory(): Promise<void> {
  const options = {
    tasks: Number(values["history-tasks"]),
    pairs,
    minutes,
    rows,
    say: (line: string) => void process.stderr.write(`${line}\n`),
  };
  const both = await startBoth(options);
  try {
    const limits = await measureLimits(both.empty, say);
    for (const name of names) (await measureBoth(MEASURES[name]!, both, limits, options)).forEach(say);
  } finally {
    for (const system of [both.empty, both.old]) {
      system.go();
      await system.stop();
    }
  }
}
