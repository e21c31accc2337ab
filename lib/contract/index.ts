import { getDagRun, listDagRuns, listRunTasks, watchDagRun } from "./dag-runs.ts";
import { getDag, listDags, triggerDag } from "./dags.ts";
import { dagSchema, health, ready } from "./system.ts";
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
  dagSchema,
} as const;

export type Operations = typeof operations;
export type OperationName = keyof Operations;
