import type { RunState } from "#lib/domain/states.ts";
import { endQuarantine } from "./quarantine.ts";
import type { Db, Tx } from "./pool.ts";

/** What a person asks of a run: the committed intent, which slices carry out. */

export type ActionArgs = {
  cancel: Record<string, never>;
  clear: {
    /** Task ids; without them, every task of the run. */
    tasks?: readonly string[] | undefined;
    upstream?: boolean | undefined;
    downstream?: boolean | undefined;
    /** Of all those, only the ones that ended other than well. */
    onlyFailed?: boolean | undefined;
    /** These slots, and all that depends on them, instead of all that. */
    slots?: readonly number[] | undefined;
  };
  mark: { slot: number; to: "success" | "failed" | "skipped" };
  kill: { slot: number };
};
export type ActionKind = keyof ActionArgs;

/** Made by pauses (`lib/db/pauses.ts`); it moves no task. */
export type HoldKind = "pause" | "resume";

export function isHold(kind: ActionKind | HoldKind): kind is HoldKind {
  return kind === "pause" || kind === "resume";
}

export type NewAction<K extends ActionKind = ActionKind> = {
  [Kind in K]: { kind: Kind; args: ActionArgs[Kind] };
}[K] & { actor: string; reason: string | null };

/**
 * `slots`: whose tasks get another state; `total` of them, null before the first slice has found them. `ready`: those whose
 * tasks were ready and had not begun when it did.
 */
export type RunAction = NewAction & {
  runId: string;
  slots: readonly number[];
  ready: readonly number[];
  total: number | null;
  done: number;
  /** Since it was asked for. */
  ageMs: number;
  /** The run has not ended, or a slice of an action was written since. */
  isRunOpen: boolean;
};

/**
 * An insert of actions `a`: a cancel replaces any other action, and joins another cancel. Any replaces a pause or a resume: at its end it
 * finds what is left of that (`sluice.end_action`).
 */
export const REPLACES = `
      on conflict (run_id) do update
        set kind = excluded.kind, args = excluded.args, actor = excluded.actor, reason = excluded.reason,
            requested_at = sluice.clock(), slots = '{}', ready = '{}', total = null, done = 0
        where excluded.kind = 'cancel' and a.kind <> 'cancel' or a.kind in ('pause', 'resume')`;

/**
 * Commits what is asked of a run; false when another action of it is under way that it does not replace. A cancel also takes the run out of quarantine: what broke a duty must not keep a person from ending the run.
 */
export async function insertAction(db: Db, runId: string, action: NewAction): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "insert-run-action",
    text: `
      insert into sluice.run_action as a (run_id, kind, args, actor, reason) values ($1, $2, $3, $4, $5)
      ${REPLACES}`,
    values: [runId, action.kind, JSON.stringify(action.args), action.actor, action.reason],
  });
  if (action.kind !== "cancel") return rowCount === 1;
  await endQuarantine(db, "actions", [runId]);
  return true;
}

/** The kind of a run's action, and its age since it was asked for; undefined when it has none. */
export async function findActionKind(
  db: Db,
  runId: string,
): Promise<{ kind: ActionKind | HoldKind; ageMs: number } | undefined> {
  const { rows } = await db.query<{ kind: ActionKind | HoldKind; ageMs: number }>({
    name: "find-action-kind",
    text: `select kind, (extract(epoch from sluice.clock() - requested_at) * 1000)::float8 as "ageMs"
             from sluice.run_action where run_id = $1`,
    values: [runId],
  });
  return rows[0];
}

/**
 * The action of a locked run that moves tasks; undefined when it has none. Its row is not locked: a cancel may replace it while a slice of
 * it is written, and must not wait for that. So what a slice writes of it names its kind.
 */
export async function readAction(tx: Tx, runId: string): Promise<RunAction | undefined> {
  const { rows } = await tx.query<RunAction>({
    name: "read-run-action",
    text: `select run_id as "runId", kind, args, actor, reason, slots, ready, total, done,
                  (extract(epoch from sluice.clock() - requested_at) * 1000)::float8 as "ageMs",
                  exists (select from sluice.dag_run r left join sluice.run_progress p on p.run_id = r.id
                           where r.id = $1 and (r.ended_at is null or p.open > 0)) as "isRunOpen"
             from sluice.run_action where run_id = $1 and kind not in ('pause', 'resume')`,
    values: [runId],
  });
  return rows[0];
}

/** `found`: what the first slice has found, and only that one writes. */
export type ActionProgress = { found?: Pick<RunAction, "slots" | "ready"> | undefined; total: number; done: number };

/** How far an action of a locked run is, unless a cancel has replaced it. */
export async function writeProgress(
  tx: Tx,
  runId: string,
  kind: ActionKind,
  { found, total, done }: ActionProgress,
): Promise<void> {
  await tx.query({
    name: "write-action-progress",
    text: `update sluice.run_action
              set slots = coalesce($2::int[], slots), ready = coalesce($3::int[], ready), total = $4, done = $5
            where run_id = $1 and kind = $6`,
    values: [runId, found?.slots ?? null, found?.ready ?? null, total, done, kind],
  });
}

/**
 * Ends the action of a locked run, which is complete. `replaced`: a cancel has taken its place, which is still to be carried out.
 * `turned`: the run was paused or resumed meanwhile, and the action continues as that.
 */
export async function endAction(tx: Tx, runId: string, kind: ActionKind): Promise<"ended" | "replaced" | "turned"> {
  const { rows } = await tx.query<{ how: "ended" | "replaced" | "turned" }>({
    name: "end-action",
    text: "select sluice.end_action($1, $2) as how",
    values: [runId, kind],
  });
  return rows[0]!.how;
}

export type RunWithAction = { runId: string; kind: ActionKind };

/**
 * Runs with an action, without those in quarantine: first what a person waits for, then pauses and resumes, which have taken effect
 * already. Among each in no order, so that schedulers seldom wait for each other at the same run.
 */
export async function runsWithActions(db: Db): Promise<RunWithAction[]> {
  const { rows } = await db.query<RunWithAction>({
    name: "runs-with-actions",
    text: `select run_id as "runId", kind from sluice.run_action a
            where not exists (select from sluice.quarantine q where q.duty = 'actions' and q.key = a.run_id::text
                                 and q.retry_at > (select sluice.clock()))
            order by kind in ('pause', 'resume'), random()`,
  });
  return rows;
}

/** What an action needs to know of a run before it is asked for. */
export type ActionGround = {
  state: RunState;
  dagId: string;
  backfillId: string | null;
  versionId: string;
  hasTasks: boolean;
};

export async function findActionGround(db: Db, runId: string): Promise<ActionGround | undefined> {
  const { rows } = await db.query<ActionGround>({
    name: "find-action-ground",
    text: `select r.state, r.dag_id as "dagId", r.version_id as "versionId", r.backfill_id as "backfillId",
                  exists (select from sluice.run_progress p where p.run_id = r.id) as "hasTasks"
             from sluice.dag_run r where r.id = $1`,
    values: [runId],
  });
  return rows[0];
}
