import { createHash } from "node:crypto";
import os from "node:os";
import path from "node:path";
import type { Log } from "#lib/domain/log.ts";
import { plainEnv, type Settings } from "#lib/env.ts";
import type { Cgroups } from "./cgroups/groups.ts";
import { openCgroups } from "./cgroups/open.ts";
import type { GuestPlace } from "./guests/guest.ts";
import { endDeadLeftovers, endLeftovers } from "./leftovers.ts";
import { createSpawner, type Spawner } from "./spawner/client.ts";
import type { ProcessUser } from "./spawner/protocol.ts";
import { findTaskUsers, taskUserTrouble } from "./task-user.ts";
import { createUserPool, type UserPool } from "./user-pool.ts";

/** What keeps the code of others apart from this process and from each other, as far as this machine has it. */
export type Isolation = {
  cgroups: Cgroups;
  users: UserPool;
  /** Whom a process of theirs may run as, beside this process's own user. */
  found: readonly ProcessUser[];
  /** It has started a process under these users already. */
  spawner: Spawner;
  workFolder: string;
  /** Why tasks run as this process's own user; undefined when they do not. */
  whyOwnUser: string | undefined;
  /** For probes. */
  isolated: Isolated;
  stop(): Promise<void>;
};

/** Whether the code of others runs as another user than this process, and in control groups with limits. */
export type Isolated = { user: boolean; limits: boolean };

type Options = {
  /** Of this process; nobody else on this machine has it. */
  name: string;
  settings: Settings;
  log: Pick<Log, "info" | "warn">;
  /** Chooses from the users of the setting, in their order. Throws when they are too few. */
  choose: (users: readonly ProcessUser[]) => readonly ProcessUser[];
  /** What code needs of the DAGs folder: to read all of it, or to pass through it to packages. */
  dagsDir: "readable" | "there";
};

/**
 * Opens the control groups and finds the users of tasks, and ends what an earlier process of this name has left. Says once what this
 * machine cannot do. Throws when the users were asked for by a setting and cannot be had.
 */
export async function openIsolation({ name, settings, log, choose, dagsDir }: Options): Promise<Isolation> {
  const { home, taskUser, taskPids } = settings;
  const workFolder = workFolderOf(home, name);
  const cgroups = openCgroups(groupOf(home, name));
  if (cgroups.none !== undefined)
    log.info({ reason: cgroups.none }, "no control group can be written: tasks have no limits of their own");
  await endDeadLeftovers({ home, host: os.hostname(), log, cgroupsOf: (dead) => openCgroups(groupOf(home, dead)) });
  await endLeftovers(cgroups, workFolder, log);
  const found = await findTaskUsers(taskUser);
  const chosen = choose(found.users);
  const users = createUserPool(chosen);
  const spawner = createSpawner({ env: plainEnv(), log, cgroups, maxPids: taskPids, users });
  const stop = async (): Promise<void> => {
    await spawner.stop();
    cgroups.remove();
  };
  const whyOwnUser = found.why ?? (await taskUserTrouble(spawner, workFolder, { [dagsDir]: [settings.dagsDir] }));
  if (whyOwnUser !== undefined && found.why === undefined) {
    if (taskUser !== undefined) {
      await stop();
      throw new Error(`SLUICE_TASK_USER ${taskUser} cannot run tasks here: ${whyOwnUser}`);
    }
    users.clear();
  }
  if (whyOwnUser !== undefined)
    log.info({ reason: whyOwnUser }, "tasks run as the worker's own user, and can read what it can");
  return {
    cgroups,
    users,
    found: chosen,
    spawner,
    workFolder,
    whyOwnUser,
    isolated: { user: whyOwnUser === undefined, limits: cgroups.none === undefined },
    stop,
  };
}

/** Where guests of this process are started; `memory` in MiB is the limit of each. */
export function guestPlaceOf(isolation: Isolation, settings: Settings, memory = 0): GuestPlace {
  const { workFolder, users, cgroups } = isolation;
  return { workFolder, users, cgroups, limits: { memory, cpu: 0, pids: settings.taskPids } };
}

export function workFolderOf(home: string, name: string): string {
  return path.join(home, "work", name);
}

/** Processes of other homes may have the same name. */
function groupOf(home: string, name: string): string {
  return `${name}-${createHash("sha256").update(path.resolve(home)).digest("hex").slice(0, 8)}`;
}
