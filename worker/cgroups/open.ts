import { readFileSync } from "node:fs";
import { messageOf } from "#lib/domain/errors.ts";
import { createGroups } from "./attempt-group.ts";
import { CGROUP_FILES, type CgroupFiles } from "./files.ts";
import type { CgroupPlaces, Cgroups } from "./groups.ts";
import { NO_GROUPS } from "./none.ts";
import { openV1 } from "./v1.ts";
import { openV2 } from "./v2.ts";

/** The control groups of worker `name`, of whichever version can be written here; without any, processes have no limits. */
export function openCgroups(
  name: string,
  files: CgroupFiles = CGROUP_FILES,
  places: () => CgroupPlaces = readPlaces,
): Cgroups {
  const reasons: string[] = [];
  for (const open of [openV2, openV1]) {
    try {
      return createGroups(open(name, files, places()));
    } catch (error) {
      reasons.push(messageOf(error));
    }
  }
  return { ...NO_GROUPS, none: reasons.join("; ") };
}

function readPlaces(): CgroupPlaces {
  return { mounts: readFileSync("/proc/self/mounts", "utf8"), own: readFileSync("/proc/self/cgroup", "utf8") };
}
