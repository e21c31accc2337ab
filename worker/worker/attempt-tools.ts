import path from "node:path";
import { readBundle } from "#lib/db/bundles.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { createContainers } from "#lib/executors/docker/containers.ts";
import type { Executors } from "#lib/executors/registry.ts";
import { createAddressGuard } from "#lib/executors/http-address.ts";
import { plainEnv, type Settings } from "#lib/env.ts";
import { createBundleStore } from "../functions/bundle-store.ts";
import { createFunctionPool } from "../functions/pool.ts";
import { placesOf } from "../plugins/places.ts";
import { guestPlaceOf, type Isolated, openIsolation } from "../isolation.ts";
import type { ProcessUser } from "../spawner/protocol.ts";
import { workersOf } from "../task-user.ts";
import { killTasksIn } from "../kill-tasks-in.ts";
import { secretsOf } from "../secrets/file.ts";
import { createWriters } from "./disk-writers.ts";
import { createDiskCheck } from "./free-disk.ts";
import { createInputs } from "./inputs.ts";
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
): Promise<AttemptTools & { isolated: Isolated; stop(): Promise<void> }> {
  const env = plainEnv();
  const labels = { "sluice.worker": settings.workerName, "sluice.home": settings.home };
  const containers = createContainers({ ...settings, labels, log: deps.log });
  const choose = (users: readonly ProcessUser[]): readonly ProcessUser[] => workersOf(users, settings);
  const isolation = await openIsolation({
    name: settings.workerName,
    settings,
    log: deps.log,
    choose,
    dagsDir: "there",
  });
  const { spawner, workFolder, whyOwnUser } = isolation;
  await containers.sweep();
  const bundles = createBundleStore(path.join(settings.home, "bundles"), (hash) =>
    untilReachable(NEVER, () => readBundle(deps.pool, hash)),
  );
  const functions = createFunctionPool({
    dagsDir: settings.dagsDir,
    plugins: placesOf(settings),
    env,
    folderOf: bundles.folderOf,
    place: guestPlaceOf(isolation, settings),
  });
  return {
    isolated: isolation.isolated,
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
    nothing: whyOwnUser === undefined ? await writeNothing(workFolder) : undefined,
    diskTrouble: createDiskCheck({ folder: workFolder, minFreeMib: settings.minFreeDisk }),
    writers: createWriters({
      folder: workFolder,
      minFreeMib: settings.minFreeDisk,
      end: (folder) => killTasksIn(folder, isolation.found),
      log: deps.log,
    }),
    async stop() {
      await functions.stop();
      await isolation.stop();
    },
  };
}
