import { runIdOf } from "#lib/domain/ids.ts";
import type { RunTimes } from "#lib/domain/run-times.ts";
import type { SlotClass } from "#lib/domain/states.ts";
import type { Db } from "./pool.ts";

export type WorkerRef = { id: string; epoch: string };

/** All a worker needs to run an attempt, but for the parents' outputs. */
export type Claimed = RunTimes & {
  taskInstanceId: string;
  runId: string;
  attemptId: string;
  token: string;
  number: number;
  dagId: string;
  taskId: string;
  /** The task as its version has it, in the compact form. */
  task: unknown;
  bundle: string | null;
  conf: Record<string, unknown>;
  /** What the task sees of conf. */
  params: Record<string, unknown>;
  /** Failed attempts before this one. */
  failures: number;
  triggerKind: string;
  /** What earlier looks of this attempt have left; null at its first. */
  look: Look | null;
};

export type Look = {
  /** Since its first look began. */
  waitedMs: number;
  /** Its log goes on with this `seq`, and so many bytes are there. */
  logSeq: number;
  logBytes: number;
};

/** What a worker claims from: the lanes of one slot class, the first queue first. */
export type ClaimLanes = { queues: readonly string[]; slotClass: SlotClass };

export type Claims = {
  /** In the order of their admission. */
  claimed: Claimed[];
  /** Queues that hold more than was taken. */
  leftIn: string[];
};

/**
 * `queued` or `ready` → `running` for at most one attempt for each of `tokens`, under a lease of `leaseMs`: those assigned to this
 * worker first, then what was handed over, then what is ready where nothing has to be weighed. Takes nothing for a worker that drains, has stopped, or was replaced by a newer process of its name. The
 * transition itself is the function `sluice.claim_1` in the migrations.
 */
export async function claimQueued(
  db: Db,
  worker: WorkerRef,
  { queues, slotClass }: ClaimLanes,
  tokens: readonly string[],
  leaseMs: number,
): Promise<Claims> {
  const { rows } = await db.query<{ claimed: OfTask[]; runs: RunJson[]; leftIn: string[] }>({
    name: "claim-queued",
    text: `select claimed, runs, left_in as "leftIn" from sluice.claim_1($1, $2, $3, $4, $5, $6)`,
    // As one text: the client would look at each character of each token.
    values: [worker.id, worker.epoch, queues, slotClass, `{${tokens.join(",")}}`, leaseMs],
  });
  const { claimed, runs, leftIn } = rows[0]!;
  const ofRuns = new Map(runs.map((run) => [run.runId, ofRun(run)]));
  return {
    claimed: claimed.map((of) => ({ look: null, ...of, ...ofRuns.get(runIdOf(of.taskInstanceId))! })),
    leftIn,
  };
}

/** What tasks have of their run. */
type OfRun = RunTimes & Pick<Claimed, "runId" | "dagId" | "bundle" | "conf" | "params" | "triggerKind">;
type OfTask = Omit<Claimed, keyof OfRun | "look"> & { look?: Look };

/** JSON has no instants. */
type RunJson = Omit<OfRun, keyof RunTimes> & Record<keyof RunTimes, string>;

function ofRun({ logicalDate, intervalStart, intervalEnd, ...same }: RunJson): OfRun {
  return {
    ...same,
    logicalDate: new Date(logicalDate),
    intervalStart: new Date(intervalStart),
    intervalEnd: new Date(intervalEnd),
  };
}
