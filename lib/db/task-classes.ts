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

/** What is known of task classes. A class never changes, so what was read once is right for ever. */
export type TaskClassCache = Map<number, TaskClass>;

/** A class is some 300 bytes; an installation with more of them than this reads some again. */
const MAX_KNOWN = 50_000;

/** The classes with these ids; those that were deleted meanwhile are left out. */
export async function taskClasses(
  db: Db,
  known: TaskClassCache,
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
