import { getDagRun, listDagRuns, listRunTasks, watchDagRun } from "./dag-runs.ts";
import { getDag, listDags, triggerDag } from "./dags.ts";
import { health, ready } from "./system.ts";
import { getTaskInstance, readTaskLog } from "./task-instances.ts";

/** Every operation of the public API, by name. */
export const operations = {
  listDags,
  getDag,
  triggerDag,
  listDagRuns,
  getDagRun,
  listRunTasks,
  watchDagRun,
  getTaskInstance,
  readTaskLog,
  health,
  ready,
} as const;

export type Operations = typeof operations;
export type OperationName = keyof Operations;
