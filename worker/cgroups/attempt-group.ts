import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { AttemptGroup, Cgroups, GroupEnd, GroupLimits, Hierarchy } from "./groups.ts";

/** A process that was killed may take a moment to give back its memory; one that hangs in a device never does. */
const GONE_WITHIN_MS = 5_000;
const FIRST_LOOK_MS = 1;

/** Groups that wait for their next attempt. */
const MAX_SPARE = 64;

type Made = { name: string; limits: GroupLimits };

/**
 * Groups of attempts in either version: made, ended to the last process, and removed; or used again, where a group can be
 * made as if it were new. Making and removing one costs several times as much.
 */
export function createGroups(hierarchy: Hierarchy): Cgroups {
  // Not the names of an earlier worker, of which one may still hold a process that does not die.
  const prefix = randomUUID().slice(0, 8);
  let made = 0;
  let spare: Made[] = [];

  const make = (limits: GroupLimits): Made => {
    const name = `${prefix}-${++made}`;
    try {
      hierarchy.make(name, limits);
    } catch (error) {
      hierarchy.removeGroup(name);
      throw error;
    }
    return { name, limits };
  };

  const takeSpare = (limits: GroupLimits): Made | undefined => {
    const at = spare.findIndex((one) => isSame(one.limits, limits));
    return at < 0 ? undefined : spare.splice(at, 1)[0];
  };

  const keepOrRemove = async (group: Made): Promise<void> => {
    if (spare.length < MAX_SPARE && isRenewed(hierarchy, group.name)) spare.push(group);
    else await removeGone(hierarchy, group.name);
  };

  return {
    open: (limits) => groupOf(hierarchy, takeSpare(limits) ?? make(limits), keepOrRemove),
    async sweep() {
      const left = hierarchy.names().filter((name) => spare.every((one) => one.name !== name));
      const killed = await Promise.all(left.map((name) => removeGone(hierarchy, name)));
      return killed.filter(Boolean).length;
    },
    remove() {
      for (const { name } of spare) removeIfEmpty(hierarchy, name);
      spare = [];
      hierarchy.removeAll();
    },
  };
}

function groupOf(hierarchy: Hierarchy, group: Made, over: (group: Made) => Promise<void>): AttemptGroup {
  const { name } = group;
  let isOver = false;
  let wasKilled = false;
  return {
    procs: hierarchy.procs(name),
    kill() {
      // After its end the group may be another attempt's.
      if (!isOver && killIfThere(hierarchy, name)) wasKilled = true;
    },
    async close() {
      isOver = true;
      const end = readIfThere(hierarchy, name);
      // What was killed or ran out of memory leaves marks in a group: that one ends with its attempt.
      if (wasKilled || end.outOfMemory) await removeGone(hierarchy, name);
      else await over(group);
      return end;
    },
  };
}

const isSame = (a: GroupLimits, b: GroupLimits): boolean =>
  a.memory === b.memory && a.cpu === b.cpu && a.pids === b.pids;

function isRenewed(hierarchy: Hierarchy, name: string): boolean {
  try {
    return hierarchy.renew(name);
  } catch {
    return false;
  }
}

/** A group may be removed by others: by who cleans the machine up, or by a worker that takes this one's name. */
function killIfThere(hierarchy: Hierarchy, name: string): boolean {
  try {
    if (hierarchy.isEmpty(name)) return false;
    hierarchy.kill(name);
  } catch {
    // Only an empty group can be removed.
  }
  return true;
}

function readIfThere(hierarchy: Hierarchy, name: string): GroupEnd {
  try {
    return hierarchy.read(name);
  } catch {
    return { usage: {}, outOfMemory: false };
  }
}

function removeIfEmpty(hierarchy: Hierarchy, name: string): void {
  try {
    hierarchy.removeGroup(name);
  } catch {
    // It lies under the worker's name, whose next start tries again.
  }
}

/** What cannot be removed is left for the next start of the worker to try again. True when there was anything to kill. */
async function removeGone(hierarchy: Hierarchy, name: string): Promise<boolean> {
  const end = performance.now() + GONE_WITHIN_MS;
  let wasKilled = false;
  for (let waitMs = FIRST_LOOK_MS; ; waitMs *= 2) {
    wasKilled = killIfThere(hierarchy, name) || wasKilled;
    try {
      hierarchy.removeGroup(name);
      return wasKilled;
    } catch {
      if (performance.now() > end) return wasKilled;
      // The kernel tells nobody when a group falls empty that is not being watched.
      await delay(waitMs);
    }
  }
}
