import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readBundle } from "#lib/db/bundles.ts";
import { finish } from "#lib/engine/finish.ts";
import { plainEnv } from "#lib/env.ts";
import { executorsWith } from "#lib/executors/registry.ts";
import { createContainers } from "#lib/executors/docker/containers.ts";
import { createAddressGuard } from "#lib/executors/http-address.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, start, worker } from "#lib/testing/engine.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createBundleStore } from "../functions/bundle-store.ts";
import { createFunctionPool } from "../functions/pool.ts";
import { ownPlace } from "../guests/place.ts";
import { createLoader, type Loader } from "../loader/loader.ts";
import { NO_SECRETS } from "../secrets/provider.ts";
import { createSpawner } from "../spawner/client.ts";
import { createInputs } from "./inputs.ts";
import { createLogWriter } from "./log-writer.ts";
import { type AttemptTools, runAttempt } from "./run-attempt.ts";

const database = testDatabase();
let folder: string;
let dagsDir: string;
let loader: Loader;
let tools: AttemptTools;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-programs-"));
  dagsDir = path.join(folder, "dags");
  await mkdir(dagsDir);
  await mkdir(path.join(folder, "work"));
  loader = createLoader({ deps: database.deps, dagsDir, env: plainEnv(), place: ownPlace() });
  const spawner = createSpawner({ env: plainEnv(), log: SILENT });
  const bundles = createBundleStore(path.join(folder, "bundles"), (hash) => readBundle(database.pool, hash));
  tools = {
    deps: database.deps,
    executors: executorsWith([]),
    inputs: createInputs(database.deps),
    diskTrouble: async () => undefined,
    spawner,
    bundles,
    containers: createContainers({ dockerHost: undefined, dockerMounts: [], taskPids: 100, labels: {}, log: SILENT }),
    functions: createFunctionPool({ dagsDir, env: plainEnv(), folderOf: bundles.folderOf, place: ownPlace(folder) }),
    workFolder: path.join(folder, "work"),
    network: createAddressGuard([]),
    secrets: NO_SECRETS,
  };
});
afterAll(async () => {
  await tools.functions.stop();
  await tools.spawner.stop();
  await rm(folder, { recursive: true, force: true });
});

async function load(files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(dagsDir, name), text);
  await loader.pass();
}

/** Runs what is ready; answers how the attempts ended and what they wrote, in the order of their runs. */
async function runReady(): Promise<{ runId: string; state: string; retries: boolean; log: string }[]> {
  const claimed = await claimAll(database.deps, await worker(database.deps, "w"));
  const logs = createLogWriter(database.deps, { maxBytes: 1024 * 1024 });
  const ends = [];
  for (const attempt of claimed.toSorted((a, b) => Number(a.runId) - Number(b.runId))) {
    const log = logs.open(attempt);
    const end =
      (await runAttempt(tools, attempt, new AbortController().signal, log)) ?? expect.fail("it was not begun");
    await log.stored();
    await finish(database.deps, [end], "worker:w");
    const { rows } = await database.pool.query<{ text: string }>(
      "select convert_from(chunk, 'UTF8') as text from sluice.task_log where task_instance_id = $1 order by seq",
      [attempt.taskInstanceId],
    );
    const retries = end.retryInMs !== undefined;
    ends.push({ runId: attempt.runId, state: end.state, retries, log: rows.map(({ text }) => text).join("") });
  }
  return ends;
}

test("a run has the programs of its version, whatever the files say now", async () => {
  const yaml = "id: s\ntasks:\n  - id: a\n    bash: { script: ./a.sh, args: ['${{ run.dagId }}'] }\n";
  await load({ "s.yaml": yaml, "a.sh": 'echo "old $1"' });
  await worker(database.deps, "w");
  await start(database.deps, "s");
  await load({ "a.sh": 'echo "new $1"' });
  await start(database.deps, "s");
  await rm(path.join(dagsDir, "a.sh"));
  expect((await runReady()).map(({ state, log }) => [state, log])).toEqual([
    ["success", "old s\n"],
    ["success", "new s\n"],
  ]);
});

test("an exit code in failOn is the end, and another one is retried", async () => {
  const task = (id: string, code: number): string =>
    `  - { id: ${id}, retries: 3, bash: { command: "exit ${code}", failOn: [78] } }\n`;
  await load({ "f.yaml": `id: f\ntasks:\n${task("a", 78)}`, "g.yaml": `id: g\ntasks:\n${task("a", 1)}` });
  await start(database.deps, "f");
  await start(database.deps, "g");
  expect((await runReady()).map(({ state, retries }) => [state, retries])).toEqual([
    ["failed", false],
    ["failed", true],
  ]);
});
