import type { ResourceAmount } from "./model/resources.ts";
import { needsText } from "./needs.ts";

/** Why a task that could run does not, with the numbers that say so. */
export type WaitReason =
  | { code: "NO_WORKER"; lane: string }
  /** `shared`: the slots are those of workers that serve other queues as well. */
  | ({ code: "SLOTS_TAKEN"; lane: string; slots: number; shared?: boolean } & Held)
  | { code: "POOL_MISSING"; pool: string }
  /** The pool has fewer slots in all than one task wants. */
  | { code: "POOL_TOO_SMALL"; pool: string; size: number; wanted: number }
  | ({ code: "POOL_FULL"; pool: string; taken: number; size: number; wanted: number; kept?: boolean } & Held)
  | { code: "DAG_LIMIT"; dagId: string; taken: number; limit: number }
  | { code: "RUN_LIMIT"; limit: number }
  | ({ code: "SYSTEM_LIMIT"; taken: number; limit: number } & Held)
  /** No worker of the lane has so much, not even when nothing runs; `largest` is the most that one has of each. */
  | { code: "NO_WORKER_LARGE_ENOUGH"; lane: string; wanted: ResourceAmount; largest: ResourceAmount }
  | ({ code: "RESOURCES_TAKEN"; lane: string; wanted: ResourceAmount; needs?: readonly string[] } & Held)
  /** `versions` are those of the lane's workers, of which none offers all that the task needs. */
  | { code: "NO_WORKER_OFFERS"; lane: string; needs: readonly string[]; versions: readonly string[] };

type Held = { holders?: readonly Holder[] };

/** A DAG and how much it has of what is waited for: slots of a pool, or tasks. */
export type Holder = { dagId: string; taken: number };

/** What tasks that are handed over or run have, by DAG, lane and pool. */
export type Occupancy = {
  dagId: string;
  lane: string;
  pool: string | null;
  tasks: number;
  slots: number;
  /** It goes to a certain worker and not to any. */
  particular: boolean;
};

/**
 * What a reason waits for, as a key that `sluice.contention` collects: while a key is there, no child continues in a slot
 * that takes from it.
 */
const KEYS: { readonly [C in WaitReason["code"]]: (of: Waiting, reason: WaitReason & { code: C }) => string | null } = {
  NO_WORKER: () => null,
  POOL_MISSING: () => null,
  POOL_TOO_SMALL: () => null,
  NO_WORKER_LARGE_ENOUGH: () => null,
  NO_WORKER_OFFERS: () => null,
  SLOTS_TAKEN: ({ laneId, groupId }, { shared }) => (shared === true ? `group:${groupId}` : `lane:${laneId}`),
  POOL_FULL: (_, { pool }) => `pool:${pool}`,
  DAG_LIMIT: ({ dagId }) => `dag:${dagId}`,
  RUN_LIMIT: ({ dagId }) => `run:${dagId}`,
  SYSTEM_LIMIT: () => "system",
  RESOURCES_TAKEN: () => "resources",
};

type Waiting = { dagId: string; laneId: number; groupId: number };

/** The key of what a class waits for; null when it waits for nothing that others could leave to it. */
export function blockedOn(of: Waiting, reason: WaitReason): string | null {
  return (KEYS[reason.code] as (of: Waiting, reason: WaitReason) => string | null)(of, reason);
}

/**
 * Keys of a class that not every worker can run, while those that can have no slot free: of the group of its lanes, to which
 * nothing is handed over ahead of a slot, and of each such worker, in whose slots of that class no child continues.
 */
export const slotKey = (groupId: number): string => `slot:${groupId}`;
export const workerKey = (slotClass: string, workerId: string): string => `worker:${slotClass}:${workerId}`;

/** A lane's name is its queue and its slot class. */
export function laneParts(lane: string): { queue: string; slotClass: string } {
  const dot = lane.lastIndexOf(".");
  return { queue: lane.slice(0, dot), slotClass: lane.slice(dot + 1) };
}

const HELD: { readonly [C in WaitReason["code"]]?: (reason: WaitReason & { code: C }, taken: Occupancy) => boolean } = {
  SLOTS_TAKEN: ({ lane: of, shared }, { lane }) =>
    shared === true ? laneParts(lane).slotClass === laneParts(of).slotClass : lane === of,
  POOL_FULL: (reason, { pool }) => pool === reason.pool,
  SYSTEM_LIMIT: () => true,
  RESOURCES_TAKEN: (_, { particular }) => particular,
};

/** The same reason with who has what is waited for, the largest first. */
export function withHolders(reason: WaitReason, occupancy: readonly Occupancy[]): WaitReason {
  const holds = HELD[reason.code] as ((reason: WaitReason, taken: Occupancy) => boolean) | undefined;
  if (holds === undefined) return reason;
  const byDag = new Map<string, number>();
  for (const taken of occupancy) {
    if (!holds(reason, taken)) continue;
    const more = reason.code === "POOL_FULL" ? taken.slots : taken.tasks;
    byDag.set(taken.dagId, (byDag.get(taken.dagId) ?? 0) + more);
  }
  const holders = [...byDag].map(([dagId, taken]) => ({ dagId, taken }));
  holders.sort((a, b) => b.taken - a.taken || (a.dagId < b.dagId ? -1 : 1));
  // Every reason in HELD has them, which the type of a spread union does not say.
  return holders.length === 0 ? reason : ({ ...reason, holders } as WaitReason);
}

const SHOWN_HOLDERS = 3;

function heldBy({ holders = [] }: Held): string {
  if (holders.length === 0) return "";
  const shown = holders.slice(0, SHOWN_HOLDERS).map(({ dagId, taken }) => `${dagId} (${taken})`);
  const rest = holders.length - shown.length;
  return `, held by ${shown.join(", ")}${rest > 0 ? ` and ${rest} more DAG${rest === 1 ? "" : "s"}` : ""}`;
}

function amount({ cpu, memory }: ResourceAmount): string {
  const parts = [
    ...(cpu > 0 ? [`${cpu / 1000} ${cpu === 1000 ? "processor" : "processors"}`] : []),
    ...(memory > 0 ? [`${memory} MiB`] : []),
  ];
  return parts.join(" and ");
}

const SENTENCES: { readonly [C in WaitReason["code"]]: (reason: WaitReason & { code: C }) => string } = {
  NO_WORKER: ({ lane }) => `no live worker serves queue "${laneParts(lane).queue}"`,
  SLOTS_TAKEN: (reason) => {
    const { queue, slotClass } = laneParts(reason.lane);
    const others = reason.shared === true ? " and the other queues of its workers" : "";
    return `all ${reason.slots} ${slotClass} slots of queue "${queue}"${others} are taken${heldBy(reason)}`;
  },
  POOL_MISSING: ({ pool }) => `there is no pool "${pool}"; create it with: sluice pools set ${pool} <slots>`,
  POOL_TOO_SMALL: ({ pool, size, wanted }) =>
    `it wants ${wanted} slots of pool "${pool}", which has ${size} in all; enlarge it with: sluice pools set ${pool} ${wanted}`,
  POOL_FULL: (reason) =>
    `pool "${reason.pool}" has ${reason.taken} of ${reason.size} slots taken${heldBy(reason)}, and this task wants ${reason.wanted}${reason.kept ? "; what is free is kept for a larger one that has waited for long" : ""}`,
  DAG_LIMIT: ({ dagId, taken, limit }) => `DAG "${dagId}" has ${taken} of ${limit} tasks going (limits.maxActiveTasks)`,
  RUN_LIMIT: ({ limit }) => `its run has ${limit} of ${limit} tasks going (limits.maxActiveTasksPerRun)`,
  SYSTEM_LIMIT: (reason) =>
    `${reason.taken} of ${reason.limit} tasks are going in the whole system (sluice limits)${heldBy(reason)}`,
  NO_WORKER_LARGE_ENOUGH: ({ lane, wanted, largest }) =>
    `it asks for ${amount(wanted)}, and no live worker of queue "${laneParts(lane).queue}" has so much; the most that one has: ${amount(largest) || "nothing"}`,
  RESOURCES_TAKEN: (reason) =>
    `no worker of queue "${laneParts(reason.lane).queue}"${reason.needs ? ` with ${needsText(reason.needs)}` : ""} has ${[amount(reason.wanted), "a slot"].filter(Boolean).join(" and ")} free now${heldBy(reason)}`,
  NO_WORKER_OFFERS: ({ lane, needs, versions }) =>
    `no live worker of queue "${laneParts(lane).queue}" has ${needsText(needs)}; there ${versions.length === 1 ? "is version" : "are versions"} ${versions.join(", ")}`,
};

/** The sentence people read. */
export function waitSentence(reason: WaitReason): string {
  return (SENTENCES[reason.code] as (reason: WaitReason) => string)(reason);
}
