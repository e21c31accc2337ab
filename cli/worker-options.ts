import { readSettings } from "#lib/env.ts";
import type { WithDatabase } from "./settings.ts";

export type WorkerOptions = { concurrency?: string; queue?: string[]; label?: string[]; name?: string };

type Result = { ok: true; settings: WithDatabase } | { ok: false; problems: string[] };

const OPTION_OF: Record<string, string> = {
  SLUICE_PROCESS_SLOTS: "--concurrency",
  SLUICE_QUEUES: "--queue",
  SLUICE_LABELS: "--label",
  SLUICE_WORKER_NAME: "--name",
};

/** Options win over the environment and obey the same rules. */
export function settingsFromOptions(settings: WithDatabase, options: WorkerOptions): Result {
  const read = readSettings({
    SLUICE_PROCESS_SLOTS: options.concurrency,
    SLUICE_QUEUES: options.queue?.join(","),
    SLUICE_LABELS: options.label?.join(","),
    SLUICE_WORKER_NAME: options.name,
  });
  if (!read.ok) {
    return {
      ok: false,
      problems: read.problems.map((problem) => problem.replace(/^\w+/, (name) => OPTION_OF[name] ?? name)),
    };
  }
  return {
    ok: true,
    settings: {
      ...settings,
      processSlots: options.concurrency === undefined ? settings.processSlots : read.settings.processSlots,
      labels: options.label === undefined ? settings.labels : read.settings.labels,
      queues: options.queue === undefined ? settings.queues : read.settings.queues,
      workerName: options.name === undefined ? settings.workerName : read.settings.workerName,
    },
  };
}
