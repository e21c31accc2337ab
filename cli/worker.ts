import { Command } from "commander";
import { executorsOf } from "./plugins.ts";
import { settingsFromOptions, type WorkerOptions } from "./worker-options.ts";
import { exitWith, settingsWithDatabaseOrExit } from "./settings.ts";

const collected = (name: string, before: string[] | undefined): string[] => [...(before ?? []), name];

/** \`sluice worker\` */
export function workerCommand(): Command {
  return new Command("worker")
    .description(
      "Run a worker: claims tasks of its queues and runs them. Any number, on any machine that reaches Postgres.",
    )
    .option("-c, --concurrency <count>", "tasks run as processes at once (SLUICE_PROCESS_SLOTS)")
    .option("-q, --queue <name>", "queue to serve; may be given several times (SLUICE_QUEUES)", collected)
    .option("-l, --label <name>", "label that tasks may ask for; may be given several times (SLUICE_LABELS)", collected)
    .option("-n, --name <name>", "stable name of this worker (SLUICE_WORKER_NAME)")
    .addHelpText(
      "after",
      "\nExample:\n  $ sluice worker --queue default --queue gpu --label a100 --concurrency 4 --name gpu-1",
    )
    .action(async (options: WorkerOptions) => {
      const settings = settingsFromOptions(settingsWithDatabaseOrExit(), options);
      if (!settings.ok) return exitWith(settings.problems);
      const executors = await executorsOf(settings.settings, exitWith);
      const { runWorker } = await import("#worker/worker/main.ts");
      await runWorker(settings.settings, executors);
    });
}
