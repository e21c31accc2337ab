import { setTimeout as delay } from "node:timers/promises";
import { type AttemptGroup, type Cgroups, type GroupEnd, type Hierarchy } from "./groups.ts";

/** A process that was killed may take a moment to give back its memory; one that hangs in a device never does. */
const GONE_WITHIN_MS = 5_000;
const FIRST_LOOK_MS = 1;

/** Groups of attempts in either version: made, ended to the last process, and removed. */
export function createGroups(hierarchy: Hierarchy): Cgroups {
  return {
    open: (name, limits) => {
      try {
        hierarchy.make(name, limits);
      } catch (error) {
        hierarchy.removeGroup(name);
        throw error;
      }
      return groupOf(hierarchy, name);
    },
    async sweep() {
      const left = hierarchy.names();
      await Promise.all(left.map((name) => removeGone(hierarchy, name)));
      return left.length;
    },
    remove: () => hierarchy.removeAll(),
  };
}

function groupOf(hierarchy: Hierarchy, name: string): AttemptGroup {
  return {
    procs: hierarchy.procs(name),
    kill: () => killIfThere(hierarchy, name),
    async close() {
      const end = readIfThere(hierarchy, name);
      await removeGone(hierarchy, name);
      return end;
    },
  };
}

/** A group may be removed by others: by who cleans the machine up, or by a worker that takes this one's name. */
function killIfThere(hierarchy: Hierarchy, name: string): void {
  try {
    if (!hierarchy.isEmpty(name)) hierarchy.kill(name);
  } catch {
    // Only an empty group can be removed.
  }
}

function readIfThere(hierarchy: Hierarchy, name: string): GroupEnd {
  try {
    return hierarchy.read(name);
  } catch {
    return { usage: {}, outOfMemory: false };
  }
}

/** What cannot be removed is left for the next start of the worker to try again. */
async function removeGone(hierarchy: Hierarchy, name: string): Promise<void> {
  const end = performance.now() + GONE_WITHIN_MS;
  for (let waitMs = FIRST_LOOK_MS; ; waitMs *= 2) {
    killIfThere(hierarchy, name);
    try {
      return hierarchy.removeGroup(name);
    } catch {
      if (performance.now() > end) return;
      // The kernel tells nobody when a group falls empty that is not being watched.
      await delay(waitMs);
    }
  }
}
