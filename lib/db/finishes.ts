import { RETURN_VALUE } from "#lib/domain/xcom.ts";
import type { Claimed } from "./claims.ts";
import type { Db } from "./pool.ts";

/**
 * How an attempt ended, as its worker saw it. `output` is JSON text or undefined. With `retryInMs`, which only a
 * failed attempt has, the task is not over: another attempt may start after that time. A deferred one has not ended:
 * it looks again after `lookInMs`, and `reason` says for people what it waits for.
 */
export type Finish = {
  taskInstanceId: string;
  token: string;
  state: "success" | "failed" | "skipped" | "deferred";
  reason: string;
  exitCode?: number | undefined;
  error?: string | undefined;
  output?: string | undefined;
  /** What its process used, as far as anybody counted. */
  usage?: { peakMemoryBytes?: number | undefined; cpuMs?: number | undefined } | undefined;
  /** What else the task leaves, as JSON texts by key. */
  pushed?: Readonly<Record<string, string>> | undefined;
  /** How long all of that is kept; without it, as long as the run. */
  xcomTtlMs?: number | undefined;
  retryInMs?: number | undefined;
  lookInMs?: number | undefined;
  /** What it has written to its log in this look. */
  logBytes?: number | undefined;
  /** With it the worker takes a child that this end unlocks, where admission would give it that very slot. */
  next?: { attemptId: string; token: string } | undefined;
};

/** A child that goes on, as far as it is not the same as its parent: they are of one run. */
export type Continued = Pick<
  Claimed,
  "taskInstanceId" | "attemptId" | "token" | "number" | "failures" | "taskId" | "task" | "look"
>;

export type Finished = {
  /** Task instances whose end was accepted; the rest were fenced, but for those that are `busy`. */
  accepted: string[];
  /** Task instances whose run another transaction had locked: nothing was done, and they may be sent again. */
  busy: string[];
  /** What the worker goes on with, by the task instance whose slot it has. */
  continued: Map<string, Continued>;
  /** A task became ready, or a slot fell free that tasks wait for, and a full pass of admission is to decide. */
  callsForAdmission: boolean;
  /** Lanes in which the call itself admitted tasks. */
  lanes: string[];
  /** Lanes in which a slot fell free for tasks that a worker may claim without admission: it asks for them, or for a pass. */
  claimable: string[];
  /** Somebody is to be told of an end. */
  hasCallbacks: boolean;
  /** Runs in which a task ended in a way that others' rules must be asked about. */
  unsettledRuns: string[];
  /** DAGs of which a run has ended while others are queued. */
  dagsWithRoom: string[];
  /** Backfills of which a run has ended. */
  backfills: string[];
};

/**
 * `running` → its end, for every attempt whose token is still the live one; children of successes are counted down
 * and made `ready`, or go on in the slot that fell free, and a run with nothing open is closed. One call, one commit,
 * whatever the batch. The transition itself is the function `sluice.finish_1` in the migrations.
 */
export async function finishRunning(
  db: Db,
  batch: readonly Finish[],
  actor: string,
  leaseMs: number,
): Promise<Finished> {
  const xcoms = batch.map(xcomsOf);
  const { rows } = await db.query<FinishedRow>({
    name: "finish-running",
    text: `
      select accepted, busy, unsettled as "unsettledRuns", dags_with_room as "dagsWithRoom", backfills,
             calls_for_admission as "callsForAdmission", lanes, has_callbacks as "hasCallbacks", continued, claimable
        from sluice.finish_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
    values: [
      batch.map((f) => f.taskInstanceId),
      batch.map((f) => f.token),
      batch.map((f) => f.state),
      batch.map((f) => f.reason),
      batch.map((f) => f.exitCode ?? null),
      batch.map((f) => f.error ?? null),
      batch.map((f) => f.usage?.peakMemoryBytes ?? null),
      batch.map((f) => f.usage?.cpuMs ?? null),
      xcoms.every((left) => left === null) ? null : xcoms,
      batch.map((f) => f.xcomTtlMs ?? null),
      batch.map((f) => f.lookInMs ?? f.retryInMs ?? null),
      batch.map((f) => f.logBytes ?? null),
      batch.map((f) => f.next?.attemptId ?? null),
      batch.map((f) => f.next?.token ?? null),
      actor,
      leaseMs,
    ],
  });
  const { continued, ...summary } = rows[0]!;
  return {
    ...summary,
    continued: new Map((continued ?? []).map(({ afterId, ...next }) => [afterId, { ...next, look: null }])),
  };
}

/** All that the task leaves as one JSON object by key, put together from texts; null when it is nothing. */
function xcomsOf({ output, pushed = {} }: Finish): string | null {
  const members = Object.entries(pushed).map(([key, json]) => `${JSON.stringify(key)}:${json}`);
  if (output !== undefined) members.push(`"${RETURN_VALUE}":${output}`);
  return members.length === 0 ? null : `{${members.join(",")}}`;
}

type FinishedRow = Omit<Finished, "continued"> & {
  continued: (Omit<Continued, "look"> & { afterId: string })[] | null;
};
