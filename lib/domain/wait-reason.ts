/** Why a task that could run does not, with the numbers that say so. */
export type WaitReason =
  | { code: "NO_WORKER"; lane: string }
  | { code: "SLOTS_TAKEN"; lane: string; slots: number }
  | { code: "POOL_MISSING"; pool: string }
  | { code: "POOL_FULL"; pool: string; taken: number; size: number; wanted: number }
  | { code: "DAG_LIMIT"; dagId: string; taken: number; limit: number }
  | { code: "RUN_LIMIT"; limit: number };

const KIND_OF_SLOT: Record<string, string> = { process: "process", function: "function", inline: "inline" };

/** A lane's name is its queue and its slot class. */
function split(lane: string): { queue: string; kind: string } {
  const dot = lane.lastIndexOf(".");
  return { queue: lane.slice(0, dot), kind: KIND_OF_SLOT[lane.slice(dot + 1)] ?? "task" };
}

/** The sentence people read. */
export function waitSentence(reason: WaitReason): string {
  switch (reason.code) {
    case "NO_WORKER":
      return `no live worker serves queue "${split(reason.lane).queue}"`;
    case "SLOTS_TAKEN": {
      const { queue, kind } = split(reason.lane);
      return `all ${reason.slots} ${kind} slots of queue "${queue}" are taken`;
    }
    case "POOL_MISSING":
      return `there is no pool "${reason.pool}"; create it with: sluice pools set ${reason.pool} <slots>`;
    case "POOL_FULL":
      return `pool "${reason.pool}" has ${reason.taken} of ${reason.size} slots taken, and this task wants ${reason.wanted}`;
    case "DAG_LIMIT":
      return `DAG "${reason.dagId}" has ${reason.taken} of ${reason.limit} tasks going (limits.maxActiveTasks)`;
    case "RUN_LIMIT":
      return `its run has ${reason.limit} of ${reason.limit} tasks going (limits.maxActiveTasksPerRun)`;
  }
}
