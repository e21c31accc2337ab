import { fan } from "../dags.ts";
import { type Figure, figureOf } from "../report.ts";
import { residentBytes, startSystem } from "../system.ts";

const TASKS_PER_RUN = 10_000;
const RUNS = 10;
const MIB = 1024 * 1024;

/** What a worker of its own holds after 100,000 tasks, of which a tenth are functions and a tenth of those processes. */
export async function memory(): Promise<Figure[]> {
  const system = await startSystem();
  try {
    const freshScheduler = await residentBytes(system.pids.scheduler);
    await system.addDag("memory-f", fan("memory-f", TASKS_PER_RUN));
    await system.addDag("memory-w", fan("memory-w", TASKS_PER_RUN, "fibo"));
    await system.addDag("memory-p", fan("memory-p", TASKS_PER_RUN / 10, "process"));
    const fresh = await residentBytes(system.pids.worker);
    for (const id of ["memory-p", "memory-w", ...Array.from({ length: RUNS - 1 }, () => "memory-f")]) {
      await system.trigger(id);
      await system.drained();
    }
    const bytes = await residentBytes(system.pids.worker);
    const scheduler = await residentBytes(system.pids.scheduler);
    const figure = (id: string, size: number, atMost: number): Figure =>
      figureOf({ id, kind: "F", unit: "MiB", runs: [size / MIB], target: { atMost } });
    return [
      figure("memory.worker.fresh", fresh, 110),
      figure("memory.worker", bytes, 250),
      figure("memory.scheduler.fresh", freshScheduler, 150),
      figure("memory.scheduler", scheduler, 150),
    ];
  } finally {
    await system.stop();
  }
}
