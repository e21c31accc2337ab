import { getDagRun, listDagRuns, listRunTasks, watchDagRun } from "./dag-runs.ts";
import { getDag, listDags, pauseDag, triggerDag, unpauseDag } from "./dags.ts";
import { previewSchedule } from "./schedules.ts";
import { dagSchema, health, ready } from "./system.ts";
import { getTaskInstance, readTaskLog } from "./task-instances.ts";
import { listWorkers } from "./workers.ts";

/** Every operation of the public API, by name. */
export const operations = {
  listDags,
  getDag,
  triggerDag,
  pauseDag,
  unpauseDag,
  previewSchedule,
  listDagRuns,
  getDagRun,
  listRunTasks,
  watchDagRun,
  getTaskInstance,
  readTaskLog,
  listWorkers,
  health,
  ready,
  dagSchema,
} as const;

export type Operations = typeof operations;
export type OperationName = keyof Operations;
