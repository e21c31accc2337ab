import { setTimeout as delay } from "node:timers/promises";
import { type AttemptGroup, type Cgroups, type GroupEnd, type Hierarchy, SPAWNER_GROUP } from "./groups.ts";

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
      return left.filter((name) => name !== SPAWNER_GROUP).length;
    },
    remove: () => hierarchy.removeAll(),
  };
}

function groupOf(hierarchy: Hierarchy, name: string): AttemptGroup {
  return {
    procs: hierarchy.procs(name),
    kill: () => {
      if (!hierarchy.isEmpty(name)) hierarchy.kill(name);
    },
    async close() {
      const end: GroupEnd = hierarchy.read(name);
      await removeGone(hierarchy, name);
      return end;
    },
  };
}

/** What cannot be removed is left for the next start of the worker to try again. */
async function removeGone(hierarchy: Hierarchy, name: string): Promise<void> {
  const end = performance.now() + GONE_WITHIN_MS;
  for (let waitMs = FIRST_LOOK_MS; ; waitMs *= 2) {
    if (!hierarchy.isEmpty(name)) hierarchy.kill(name);
    try {
      return hierarchy.removeGroup(name);
    } catch {
      if (performance.now() > end) return;
      // The kernel tells nobody when a group falls empty that is not being watched.
      await delay(waitMs);
    }
  }
}
