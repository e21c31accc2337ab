import { createHash } from "node:crypto";
import path from "node:path";
import { readBundle } from "#lib/db/bundles.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { createContainers } from "#lib/executors/docker/containers.ts";
import type { Executors } from "#lib/executors/registry.ts";
import { createAddressGuard } from "#lib/executors/http-address.ts";
import { plainEnv, type Settings } from "#lib/env.ts";
import { openCgroups } from "../cgroups/open.ts";
import { createBundleStore } from "../functions/bundle-store.ts";
import { createFunctionPool } from "../functions/pool.ts";
import { placesOf } from "../plugins/places.ts";
import { createSpawner, type Spawner } from "../spawner/client.ts";
import { killTasksIn } from "../kill-tasks-in.ts";
import { findTaskUsers, taskUserTrouble } from "../task-user.ts";
import { createUserPool, type UserPool } from "../user-pool.ts";
import { secretsOf } from "../secrets/file.ts";
import { createWriters } from "./disk-writers.ts";
import { createDiskCheck } from "./free-disk.ts";
import { createInputs } from "./inputs.ts";
import { endLeftovers } from "./leftovers.ts";
import { writeNothing } from "./nothing.ts";
import { type AttemptTools, untilReachable } from "./run-attempt.ts";

/** A bundle is read for all attempts that wait for it, so none of them may end the reading. */
const NEVER = new AbortController().signal;

type WorkerSettings = Settings & { workerName: string };

/**
 * All that attempts are run with. What an earlier worker of this name left is ended here, so this worker must have
 * its name already: what is ended under a worker that still holds its attempts would count as failed.
 */
export async function openAttemptTools(
  settings: WorkerSettings,
  deps: EngineDeps,
  executors: Executors,
): Promise<AttemptTools & { stop(): Promise<void> }> {
  const env = plainEnv();
  const workFolder = path.join(settings.home, "work", settings.workerName);
  const cgroups = openCgroups(`${settings.workerName}-${shortHash(settings.home)}`);
  if (cgroups.none !== undefined) {
    deps.log.info({ reason: cgroups.none }, "no control group can be written: tasks have no limits of their own");
  }
  const labels = { "sluice.worker": settings.workerName, "sluice.home": settings.home };
  const containers = createContainers({ ...settings, labels, log: deps.log });
  await endLeftovers(cgroups, workFolder, deps.log);
  await containers.sweep();
  const found = await findTaskUsers(settings.taskUser, settings.processSlots);
  const users = createUserPool(found.users);
  const spawner = createSpawner({ env, log: deps.log, cgroups, maxPids: settings.taskPids, users });
  const shared = found.why ?? (await whyNotAs(users, spawner, workFolder, settings));
  if (shared !== undefined)
    deps.log.info({ reason: shared }, "tasks run as the worker's own user, and can read what it can");
  const bundles = createBundleStore(path.join(settings.home, "bundles"), (hash) =>
    untilReachable(NEVER, () => readBundle(deps.pool, hash)),
  );
  const functions = createFunctionPool({
    dagsDir: settings.dagsDir,
    plugins: placesOf(settings),
    env,
    folderOf: bundles.folderOf,
    guard: spawner.guard,
    users,
  });
  return {
    deps,
    executors,
    inputs: createInputs(deps),
    secrets: secretsOf(settings.secretsFile),
    spawner,
    functions,
    bundles,
    containers,
    network: createAddressGuard(settings.httpAllow),
    workFolder,
    nothing: shared === undefined ? await writeNothing(workFolder) : undefined,
    diskTrouble: createDiskCheck({ folder: workFolder, minFreeMib: settings.minFreeDisk }),
    writers: createWriters({
      folder: workFolder,
      minFreeMib: settings.minFreeDisk,
      end: (folder) => killTasksIn(folder, found.users),
      log: deps.log,
    }),
    async stop() {
      await functions.stop();
      await spawner.stop();
      cgroups.remove();
    },
  };
}

/** Workers of other homes may have the same name. */
function shortHash(folder: string): string {
  return createHash("sha256").update(path.resolve(folder)).digest("hex").slice(0, 8);
}

/** Where the task user cannot get at what tasks need, tasks are the worker's own user; unless it was asked for by name. */
async function whyNotAs(
  users: UserPool,
  spawner: Spawner,
  workFolder: string,
  { taskUser, dagsDir }: Settings,
): Promise<string | undefined> {
  const trouble = await taskUserTrouble(spawner, workFolder, [dagsDir]);
  if (trouble === undefined) return undefined;
  if (taskUser !== undefined) {
    await spawner.stop();
    throw new Error(`SLUICE_TASK_USER ${taskUser} cannot run tasks here: ${trouble}`);
  }
  users.clear();
  return `the user nobody cannot run tasks here: ${trouble}`;
}
