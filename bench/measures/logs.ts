import { fan, single } from "../dags.ts";
import { type Figure, figureOf } from "../report.ts";
import { runSeconds } from "../runs.ts";
import { residentBytes, startSystem, type System } from "../system.ts";
import type { MeasureContext } from "./measure.ts";

const MB = 1_000_000;
const LINE = "2026-01-01T00:00:00.000Z INFO loaded part 17 of 100, 123456 rows in 12.3 s, 0 of them bad";
const WRITERS = 100;
const MB_EACH = 10;
const MB_OF_ONE = 1_000;
const LOOK_MS = 50;

const printing = (megabytes: number): string => `yes "${LINE}" | head -c ${megabytes * MB}`;

/** B8: 1 GB of output from 100 tasks, and from one, with the cap raised; and what it does to the worker's memory. */
export async function logs({ times }: MeasureContext): Promise<Figure[]> {
  const system = await startSystem({ env: { SLUICE_LOG_LIMIT: "2Gi" } });
  try {
    await system.addDag(
      "logs-many", // The first one of the fan prints too.
      fan("logs-many", WRITERS - 1, { command: `${printing(MB_EACH)} || true` }),
    );
    await system.addDag(
      "logs-one",
      single("logs-one", `bash({ command: ${JSON.stringify(`${printing(MB_OF_ONE)} || true`)} })`),
    );
    const before = await residentBytes(system.pids.worker);
    const memory = watchMemory(system);
    const many = await times(() => megabytesPerSecond(system, "logs-many", WRITERS * MB_EACH));
    const one = await times(() => megabytesPerSecond(system, "logs-one", MB_OF_ONE));
    const peak = await memory.stop();
    return [
      figureOf({ id: "B8.100", kind: "P", unit: "MB/s", runs: many, target: { atLeast: 50 } }),
      figureOf({ id: "B8.one", kind: "P", unit: "MB/s", runs: one, target: { atLeast: 50 } }),
      figureOf({
        id: "B8.rss",
        kind: "P",
        unit: "MiB more",
        runs: [(peak - before) / 2 ** 20],
        target: { atMost: 150 },
      }),
    ];
  } finally {
    await system.stop();
  }
}

async function megabytesPerSecond(system: System, dagId: string, megabytes: number): Promise<number> {
  const runId = await system.trigger(dagId);
  await system.drained();
  const { rows } = await system.pool.query<{ bytes: string }>(
    "select sum(bytes) as bytes from sluice.task_log where task_instance_id >> 20 = $1::bigint",
    [runId],
  );
  if (Number(rows[0]!.bytes) !== megabytes * MB)
    throw new Error(`${rows[0]!.bytes} bytes were kept of ${megabytes} MB`);
  const rate = megabytes / (await runSeconds(system.pool, runId));
  // What was measured is no more than the disk is asked to hold.
  await system.pool.query("truncate sluice.task_log");
  return rate;
}

function watchMemory(system: System): { stop(): Promise<number> } {
  let peak = 0;
  let stopped = false;
  const watch = (async () => {
    while (!stopped) {
      // A worker that has ended has no memory.
      peak = Math.max(peak, await residentBytes(system.pids.worker).catch(() => 0));
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  })();
  return {
    async stop() {
      stopped = true;
      await watch;
      return peak;
    },
  };
}
