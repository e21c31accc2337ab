import { fillHistory } from "#lib/testing/history.ts";
import type { Limits } from "./limits.ts";
import type { Measure } from "./measures/measure.ts";
import { type Figure, figureOf } from "./report.ts";
import { startSystem, type System } from "./system.ts";

const GENERATIONS = 6;
const DAGS = 2_000;
const TASKS_PER_RUN = 20;
/** What months of history may cost. */
const AT_MOST = 1.15;

export type BesideHistory = {
  /** Ended task instances that the one system has and the other has not. */
  tasks: number;
  pairs: number;
  minutes: number;
  rows: number;
  say(line: string): void;
};

/** A system with months of history, and an empty one beside which it is measured. */
export async function startBoth({ tasks, say }: BesideHistory): Promise<{ empty: System; old: System }> {
  const began = performance.now();
  const old = await startSystem({
    fill: (deps) =>
      fillHistory(deps, {
        generations: GENERATIONS,
        endedRuns: Math.ceil(tasks / TASKS_PER_RUN),
        tasksPerRun: TASKS_PER_RUN,
        dags: DAGS,
        readyRunsPerDag: 0,
        task: { queue: "elsewhere" },
      }),
  });
  say(`bench: ${tasks} ended task instances were made in ${Math.round((performance.now() - began) / 1_000)} s`);
  old.stand();
  const empty = await startSystem();
  empty.stand();
  return { empty, old };
}

/**
 * A measure on both systems in turn, the one that is first changing from pair to pair, while the other stands still. Each
 * figure with history has the one without as its limit, from the same pairs.
 */
export async function measureBoth(
  measure: Measure,
  { empty, old }: { empty: System; old: System },
  limits: Limits,
  { pairs, minutes, rows }: BesideHistory,
): Promise<Figure[]> {
  const times = async (run: () => Promise<number>): Promise<number[]> => {
    // Wakes up what stood still: its connections and its caches.
    await run();
    return [await run()];
  };
  const once = async (system: System): Promise<Figure[]> => {
    system.go();
    try {
      return await measure({ system, limits, times, pairs: 1, minutes, rows });
    } finally {
      system.stand();
    }
  };
  const without: Figure[][] = [];
  const beside: Figure[][] = [];
  for (let pair = 0; pair < pairs; pair++) {
    const turns = [async () => without.push(await once(empty)), async () => beside.push(await once(old))];
    for (const turn of pair % 2 === 0 ? turns : turns.toReversed()) await turn();
  }
  return figuresOf(without, beside);
}

function figuresOf(without: readonly Figure[][], beside: readonly Figure[][]): Figure[] {
  const valuesOf = (rounds: readonly Figure[][], { id, kind }: Figure): number[] =>
    rounds.flatMap((figures) => figures.filter((one) => one.id === id && one.kind === kind).map((one) => one.figure));
  return beside[0]!.flatMap((figure) => {
    const runs = valuesOf(beside, figure);
    const limitRuns = valuesOf(without, figure);
    // A rate that one of them did not come to has no pair.
    if (runs.length !== beside.length || limitRuns.length !== without.length) return [];
    const { id, kind, unit } = figure;
    const target = unit.endsWith("/s") ? { atLeast: Number((1 / AT_MOST).toFixed(2)) } : { atMost: AT_MOST };
    return [figureOf({ id: `${id}/history`, kind, unit, runs, limit: { runs: limitRuns, target } })];
  });
}
