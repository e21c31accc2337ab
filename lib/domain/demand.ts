import type { Priority } from "./model/task.ts";
import type { ResourceAmount } from "./model/resources.ts";

/** What admission looks at: what is ready, and what there is for it. */

/** A live worker with what is free of it. `slots` are by slot class, `size` is what it has when nothing runs. */
export type WorkerRoom = {
  id: string;
  queues: readonly string[];
  /** Labels and task types. */
  offers: readonly string[];
  version: string;
  slots: Readonly<Record<string, number>>;
  free: ResourceAmount;
  size: ResourceAmount;
};

/** Tasks between which nothing but age decides, with all that limits them. Counts are of live attempts. */
export type Workload = {
  id: number;
  dagId: string;
  /** Queue and slot class, as `queue.class`. */
  lane: string;
  /** Attempts the lane's live workers have room for; null when no live worker serves it. */
  laneFree: number | null;
  laneSlots: number;
  priority: Priority;
  pool: { name: string; size: number | null; taken: number } | null;
  /** Pool slots one task takes. */
  slots: number;
  /** What one task asks of its worker. */
  asks: ResourceAmount;
  /** What its worker must offer. */
  needs: readonly string[];
  dag: { limit: number | null; taken: number };
  runLimit: number | null;
  /** Milliseconds since something of this workload was last admitted, or since its oldest task became ready. */
  starvedMs: number;
  /** Oldest first; as many as could be admitted at most. With a run limit, none of a run that has reached it. */
  candidates: readonly string[];
  /** Another task of it is ready beside the candidates. */
  hasMore: boolean;
};

/** All that admission looks at. `workers` may be empty when no workload wants a certain one. */
export type Demand = {
  workloads: readonly Workload[];
  workers: readonly WorkerRoom[];
  system: { limit: number | null; taken: number };
};

/** Not every worker of its queue will do: admission says which one takes it. */
export function isParticular({ asks, needs }: Pick<Workload, "asks" | "needs">): boolean {
  return asks.cpu > 0 || asks.memory > 0 || needs.length > 0;
}
