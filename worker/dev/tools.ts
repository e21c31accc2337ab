import { mkdir, mkdtemp, realpath, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type Containers, createContainers } from "#lib/executors/docker/containers.ts";
import { type AddressGuard, createAddressGuard } from "#lib/executors/http-address.ts";
import type { Executors } from "#lib/executors/registry.ts";
import { type BundleStore, createBundleStore } from "../functions/bundle-store.ts";
import { createFunctionPool, type FunctionPool } from "../functions/pool.ts";
import { ownPlace } from "../guests/place.ts";
import { NO_PLACES } from "../plugins/places.ts";
import type { SecretProvider } from "../secrets/provider.ts";
import { createSpawner, type Spawner } from "../spawner/client.ts";
import type { LocalRunOptions } from "./local-run.ts";

/** What a worker has to run tasks with, in a temporary folder and without a database. */
export type DevTools = {
  executors: Executors;
  spawner: Spawner;
  functions: FunctionPool;
  bundles: BundleStore;
  containers: Containers;
  network: AddressGuard;
  secrets: SecretProvider;
  /** Where attempts have their work folders. */
  workFolder: string;
  /** A folder name that means nothing to the reader, out of a text that people read. */
  withoutFolder(text: string): string;
  /** Ends every process and removes the folder. */
  stop(): Promise<void>;
};

/** Whoever tests a DAG wants to hear of the DAG. */
const QUIET = { info: () => undefined, warn: () => undefined };

export async function openTools({
  dag,
  dagsDir,
  plugins = NO_PLACES,
  env,
  httpAllow,
  docker,
  secrets,
  executors,
}: LocalRunOptions): Promise<DevTools> {
  const folder = await realpath(await mkdtemp(path.join(os.tmpdir(), "sluice-dev-")));
  const workFolder = path.join(folder, "work");
  await mkdir(workFolder);
  const spawner = createSpawner({ env, log: QUIET });
  // The same copy that a worker would run: a file that is not part of the version is missing here too.
  const bundles = createBundleStore(path.join(folder, "bundles"), (hash) =>
    Promise.resolve(hash === dag.spec.bundle ? dag.files : undefined),
  );
  const functions = createFunctionPool({
    dagsDir,
    plugins,
    env,
    folderOf: bundles.folderOf,
    place: ownPlace(workFolder),
  });
  const labels = { "sluice.worker": `test-${os.hostname()}-${process.pid}` };
  const code = path.join(folder, "bundles", dag.spec.bundle ?? "");
  return {
    executors,
    spawner,
    functions,
    bundles,
    containers: createContainers({ ...docker, labels, log: QUIET }),
    network: createAddressGuard(httpAllow),
    secrets,
    workFolder,
    withoutFolder: (text) => text.replaceAll(`file://${code}/`, "").replaceAll(`${code}/`, ""),
    async stop() {
      await functions.stop();
      await spawner.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
