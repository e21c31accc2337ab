import os from "node:os";
import { NO_GROUPS } from "../cgroups/none.ts";
import { OWN_USER } from "../user-pool.ts";
import type { GuestPlace } from "./guest.ts";

/** For the commands of whoever wrote the code: it runs as that user, as when it is run by hand. */
export function ownPlace(workFolder: string = os.tmpdir()): GuestPlace {
  return { workFolder, users: OWN_USER, cgroups: NO_GROUPS, limits: { memory: 0, cpu: 0, pids: 0 } };
}
