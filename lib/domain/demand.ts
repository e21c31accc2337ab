import type { LaneClock } from "./lane-clock.ts";
import type { ResourceAmount } from "./model/resources.ts";
import type { Priority } from "./model/task.ts";

/** What admission decides by: what is ready, what is taken, and what limits it. Counts are of live attempts. */

/** Tasks between which admission sees no difference but their age. None of this ever changes for an id. */
export type TaskClass = {
  id: number;
  dagId: string;
  laneId: number;
  /** Queue and slot class, as `queue.class`. */
  lane: string;
  priority: Priority;
  pool: string | null;
  /** Pool slots one task takes. */
  slots: number;
  /** What one task asks of its worker. */
  asks: ResourceAmount;
  /** What its worker must offer. */
  needs: readonly string[];
};

/** A run whose DAG limits the tasks of one run, and how many of a class are ready in it. */
export type ReadyRun = { runId: string; ready: number };

/** A class with at least one ready task. */
export type ReadyClass = TaskClass & {
  /** Ready tasks that are known of; there may be more when `hasMore`. */
  ready: number;
  hasMore: boolean;
  /** Its ready tasks by run, oldest first, where the DAG limits the tasks of one run; null where it does not. */
  runs: readonly ReadyRun[] | null;
  /** When a full pass last admitted a task of it, in milliseconds of the database's clock; 0 is never. */
  lastAdmittedAt: number;
  /** Milliseconds since something of it was admitted or its oldest task became ready. Known for what others can overtake. */
  waitedMs: number;
};

/** A lane that live workers serve, or that nobody does. */
export type LaneRoom = {
  id: number;
  lane: string;
  /** Slots of its live workers; 0 when none serves it. */
  slots: number;
  /** How many attempts may be live in it: the slots and the dispatch window. */
  room: number;
  /** Lanes that share workers are one group, whose workers' slots are counted once. */
  groupId: number;
  /** Slots of workers that serve no other lane of the group: what the others have taken does not touch them. */
  ownSlots: number;
  clock: LaneClock;
};

/** How many attempts may be live in all lanes of a group. */
export type GroupRoom = { id: number; slots: number; room: number };

/** A live worker, and what is free of it. Slots are by slot class. */
export type WorkerRoom = {
  id: string;
  queues: readonly string[];
  /** Labels and task types. */
  offers: readonly string[];
  version: string;
  slots: Readonly<Record<string, number>>;
  size: ResourceAmount;
  /** Slots in which nothing runs and for which nothing is assigned to it; fewer than none while it has claimed ahead. */
  freeSlots: Readonly<Record<string, number>>;
  free: ResourceAmount;
};

/** A limit of a DAG that has one: tasks of it at once, and tasks of one run of it at once. */
export type DagLimits = { limit: number | null; runLimit: number | null };

/** Live attempts of a class. */
export type LiveClass = { of: TaskClass; live: number };

/** All that admission decides by. `workers` may be empty when no class wants a certain one. */
export type Demand = {
  lanes: readonly LaneRoom[];
  groups: readonly GroupRoom[];
  pools: ReadonlyMap<string, number>;
  dags: ReadonlyMap<string, DagLimits>;
  systemLimit: number | null;
  live: readonly LiveClass[];
  /** Live attempts of the runs that are in `ReadyClass.runs`. */
  liveOfRuns: ReadonlyMap<string, number>;
  workers: readonly WorkerRoom[];
  ready: readonly ReadyClass[];
};

/** Not every worker of its queue will do: admission says which one takes it. */
export function isParticular({ asks, needs }: Pick<TaskClass, "asks" | "needs">): boolean {
  return asks.cpu > 0 || asks.memory > 0 || needs.length > 0;
}
