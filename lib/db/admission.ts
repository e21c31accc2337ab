import type { Db } from "./pool.ts";
import type { Standing, TaskClassCache } from "./task-classes.ts";

/** What a full pass has decided, as `sluice.admit_1` takes it. */
export type AdmissionPlan = {
  /** Of the lease by which the caller leads admission; null for one that leads nothing. */
  term: number | null;
  /** Tasks in quarantine. */
  apart: string[];
  grants: { class: number; run: string | null; at: number[]; workers: (string | null)[] }[];
  lanes: {
    id: number;
    slots: number;
    room: number;
    group: number;
    group_room: number;
    own_slots: number;
  }[];
  waits: { id: number; code: string; detail: object; on: string[] }[];
  gone: number[];
  contended: string[];
  free: string[];
  counted: { key: string; version: string }[];
};

export type Admitted = {
  taskInstanceId: string;
  /** The name to announce: of its lane, or of the only worker that may take it. */
  lane: string;
  runId: string;
  /** The only worker that may take it. */
  assignedTo: string | null;
};

/** What could not be written: a task instance or a task class, by its id. */
export type Unwritten = { key: string; error: string };

export type Applied = {
  attempts: Admitted[];
  /** How many tasks of the plan were there to admit. */
  granted: number;
  /** When, in milliseconds of the database's clock. */
  at: number;
  /** Tasks that could not be admitted, by no limit. */
  failed: Unwritten[];
  /** Classes whose reason could not be written. */
  unsaid: Unwritten[];
  /** Another one leads since, and nothing was done. */
  isFenced: boolean;
};

/**
 * Applies a plan in one call, whose transaction holds the admission lock and counts every limit again under it. `granted` tasks were
 * there to admit; those of them for which a limit had no room any more are still ready.
 */
export async function applyAdmission(db: Db, plan: AdmissionPlan): Promise<Applied> {
  const { rows } = await db.query<{ result: Applied }>({
    name: "admit-1",
    text: "select sluice.admit_1($1) as result",
    values: [JSON.stringify(plan)],
  });
  return rows[0]!.result;
}

/** Keeps what was written, so that the next pass need not read it. */
export function rememberApplied(
  { classes, standing, ready }: TaskClassCache,
  { grants, waits, gone }: AdmissionPlan,
  at: number,
): void {
  const readAt = performance.now();
  const change = (id: number, changes: Partial<Standing>): void => {
    const known = standing.get(id);
    if (known !== undefined) standing.set(id, { ...known, ...changes });
  };
  for (const { class: id } of grants) {
    change(id, { lastAdmittedAt: at, waitedMs: 0, readAt });
    ready.get(classes.get(id)?.laneId ?? 0)?.doubtful.add(id);
  }
  for (const { id, code, on } of waits) change(id, { written: { code, blockedOn: on[0] ?? null, isOld: false } });
  for (const id of gone) change(id, { written: null });
}

/**
 * Admits ready tasks of these runs without a full pass, where nothing waits for what they take; `again`: a full pass is wanted for
 * the rest. `lanes` are the names to announce.
 */
export async function admitRunsAtOnce(db: Db, runIds: readonly string[]): Promise<{ again: boolean; lanes: string[] }> {
  const { rows } = await db.query<{ again: boolean; lanes: string[] }>({
    name: "admit-runs-at-once",
    text: "select a.again, a.lanes from sluice.admit_at_once(sluice.ready_tasks($1)) a",
    values: [runIds],
  });
  return rows[0]!;
}

/**
 * Takes or renews the lease of this name. Returns its term, which fences what the holder writes; undefined while another holder
 * has it. A lease that ends later than any that is given now is of a clock that was set back, and counts as ended.
 */
export async function takeLease(db: Db, name: string, holder: string, ms: number): Promise<number | undefined> {
  const { rows } = await db.query<{ term: number }>({
    name: "take-lease",
    text: `
      insert into sluice.lease as l (name, holder, until)
      values ($1, $2, sluice.clock() + $3 * interval '1 ms')
      on conflict (name) do update
        set holder = excluded.holder, until = excluded.until,
            term = l.term + case when l.holder = excluded.holder then 0 else 1 end
        where l.holder = excluded.holder or l.until not between sluice.clock() and excluded.until
      returning term`,
    values: [name, holder, ms],
  });
  return rows[0]?.term;
}

/** Gives a lease back, so that another holder need not wait for its end. The row stays, because terms only grow. */
export async function giveLeaseBack(db: Db, name: string, holder: string): Promise<void> {
  await db.query("update sluice.lease set until = '-infinity' where name = $1 and holder = $2", [name, holder]);
}

/** Ends the lease if its holder's name begins so: for who knows that this holder is no more. */
export async function endLeaseOf(db: Db, name: string, holderPrefix: string): Promise<void> {
  await db.query("update sluice.lease set until = '-infinity' where name = $1 and starts_with(holder, $2)", [
    name,
    holderPrefix,
  ]);
}

/** Whether some holder has the lease of this name now; `ms` is how long leases are. */
export async function isLeaseHeld(db: Db, name: string, ms: number): Promise<boolean> {
  const { rowCount } = await db.query(
    `select from sluice.lease
      where name = $1 and until between (select sluice.clock()) and (select sluice.clock()) + $2 * interval '1 ms'`,
    [name, ms],
  );
  return rowCount === 1;
}

/** At most so many tasks become ready in one statement. */
const DUE_AT_ONCE = 1_000;

/**
 * `retrying` and `deferred` → `ready` for tasks whose time has come, the longest due first, at most 1,000; returns how many, and
 * whether there may be more. Only those of `among`, where that is given. Several callers at once are safe.
 */
export async function readyDue(
  db: Db,
  among: readonly string[] | null = null,
): Promise<{ moved: number; hasMore: boolean }> {
  const { rows } = await db.query<{ due: number; moved: number }>({
    name: "ready-due",
    text: `
      with due as materialized (
        select id from sluice.task_instance
         where not_before is not null and not_before <= (select sluice.clock()) and ($2::bigint[] is null or id = any ($2))
         order by not_before limit $1 for update skip locked),
      moved as (
        update sluice.task_instance t set state = 'ready', ready_at = sluice.clock(), not_before = null
         where t.id = any (array(select id from due))
        returning t.id, t.run_id, t.attempts, t.deferred_id),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, actor)
        -- The others were deferred: each look of theirs is no event.
        select run_id, id, attempts, 'retrying', 'ready', 'retry' from moved where deferred_id is null)
      select (select count(*)::int from due) as due, (select count(*)::int from moved) as moved`,
    values: [DUE_AT_ONCE, among],
  });
  const { due, moved } = rows[0]!;
  return { moved, hasMore: due === DUE_AT_ONCE };
}

/** The tasks that `readyDue` would take, of which one cannot be written. */
export async function dueTasks(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from sluice.task_instance
      where not_before is not null and not_before <= (select sluice.clock()) order by not_before limit $1`,
    [DUE_AT_ONCE],
  );
  return rows.map(({ id }) => id);
}
