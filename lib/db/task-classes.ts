import type { ReadyClass, TaskClass } from "#lib/domain/demand.ts";
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

/**
 * How a class stands, as it was read at `knownAt` of this process's monotonic clock, and written by it since. `waitedMs` is as of
 * `readAt` of the same clock.
 */
export type Standing = {
  lastAdmittedAt: number;
  waitedMs: number;
  readAt: number;
  knownAt: number;
  written: WrittenWait | null;
  /** What the last pass took it for: thousands of classes are the same in the next one. */
  taken?: ReadyClass;
};

/** The classes of a lane that have something ready, as they were read at `since` of the database's clock, in ms, and since. */
export type ReadyOfLane = {
  ids: Set<number>;
  /** Of which tasks were admitted since: whether more of them are ready has to be asked. */
  doubtful: Set<number>;
  since: number;
  /** When they were read, of this process's monotonic clock. */
  knownAt: number;
};

/** What a process knows of task classes. */
export type TaskClassCache = {
  /** A class never changes, so what was read once is right for ever. */
  classes: Map<number, TaskClass>;
  /**
   * Of those that were ready in the last regular pass, and since. Other processes may have changed it: that costs a turn in the
   * order, or a reason that is written a second later, and never a limit.
   */
  standing: Map<number, Standing>;
  /** By lane, since the last regular pass, where a pass need not read all of them. */
  ready: Map<number, ReadyOfLane>;
  /** Under which `standing` and `ready` were read: nobody else writes what they are about while it lasts. */
  term: number | null;
};

export function createTaskClassCache(): TaskClassCache {
  return { classes: new Map(), standing: new Map(), ready: new Map(), term: null };
}

/** What was read of a class is read again after so long, so that the numbers of its reason are not much older than this. */
const KNOWN_FOR_MS = 60_000;

/**
 * Forgets what others may have changed: under another term everything. A regular pass (`isRegular`) forgets what is ready, and how
 * classes stand for which that is not kept. Into maps of their own: another pass may be going on over the old ones.
 */
export function forgetOld(
  cache: TaskClassCache,
  term: number | null,
  isRegular: boolean,
  keeps: (of: TaskClass) => boolean,
): void {
  const isSameTerm = term !== null && cache.term === term;
  cache.term = term;
  if (!isRegular && (isSameTerm || term === null)) return;
  const now = performance.now();
  const kept = [...cache.standing].filter(([id, { knownAt }]) => {
    const of = cache.classes.get(id);
    return of !== undefined && keeps(of) && now - knownAt < KNOWN_FOR_MS;
  });
  cache.standing = new Map(isSameTerm ? kept : []);
  cache.ready = new Map();
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
