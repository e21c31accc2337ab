import type { TaskClass } from "#lib/domain/demand.ts";
import type { Priority } from "#lib/domain/model/task.ts";
import type { Db } from "./pool.ts";

type ClassRow = {
  id: number;
  dagId: string;
  laneId: number;
  queue: string;
  slotClass: string;
  priority: Priority;
  pool: string | null;
  slots: number;
  cpu: number;
  memory: number;
  needs: string[];
};

/** How a class's wait is written down. */
export type WrittenWait = { code: string; blockedOn: string | null; isOld: boolean };

/** How a class stands, as it was read at `readAt` of this process's monotonic clock or written by it since. */
export type Standing = { lastAdmittedAt: number; waitedMs: number; readAt: number; written: WrittenWait | null };

/** What a process knows of task classes. */
export type TaskClassCache = {
  /** A class never changes, so what was read once is right for ever. */
  classes: Map<number, TaskClass>;
  /**
   * Of those that were ready in the last regular pass, and since. Other processes may have changed it: that costs a turn in the
   * order, or a reason that is written a second later, and never a limit.
   */
  standing: Map<number, Standing>;
};

export function createTaskClassCache(): TaskClassCache {
  return { classes: new Map(), standing: new Map() };
}

/** A class is some 300 bytes; an installation with more of them than this reads some again. */
const MAX_KNOWN = 50_000;

/** The classes with these ids; those that were deleted meanwhile are left out. */
export async function taskClasses(
  db: Db,
  { classes: known }: TaskClassCache,
  ids: Iterable<number>,
): Promise<ReadonlyMap<number, TaskClass>> {
  const missing = [...new Set(ids)].filter((id) => !known.has(id));
  if (missing.length === 0) return known;
  if (known.size + missing.length > MAX_KNOWN) known.clear();
  const { rows } = await db.query<ClassRow>({
    name: "read-task-classes",
    text: `
      select w.id, w.dag_id as "dagId", w.lane_id as "laneId", w.queue, w.slot_class as "slotClass", w.priority, w.pool,
             w.slots, w.cpu, w.memory, w.needs
        from sluice.workload w where w.id = any ($1::int[])`,
    values: [missing],
  });
  for (const { queue, slotClass, cpu, memory, ...row } of rows) {
    known.set(row.id, { ...row, lane: `${queue}.${slotClass}`, asks: { cpu, memory } });
  }
  return known;
}
