import { mkdir, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { canonicalJson, sha256 } from "#lib/domain/canonical.ts";
import { parseDefinition } from "#lib/domain/definition/parse.ts";
import type { PluginTypes } from "#lib/domain/model/plugin-type.ts";
import { offersOf } from "#lib/domain/needs.ts";
import { SLOT_CLASSES } from "#lib/domain/states.ts";
import { builtInType, TASK_TYPES } from "#lib/domain/model/task-types.ts";
import { readBundle } from "#lib/db/bundles.ts";
import type { Claimed } from "#lib/db/claims.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { claim } from "#lib/engine/claim.ts";
import { finish } from "#lib/engine/finish.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { plainEnv } from "#lib/env.ts";
import { createContainers } from "#lib/executors/docker/containers.ts";
import { createAddressGuard } from "#lib/executors/http-address.ts";
import { createBundleStore } from "#worker/functions/bundle-store.ts";
import { createFunctionPool } from "#worker/functions/pool.ts";
import { ownPlace } from "#worker/guests/place.ts";
import { openExecutors } from "#worker/plugins/open.ts";
import { createSpawner } from "#worker/spawner/client.ts";
import { createInputs } from "#worker/worker/inputs.ts";
import { createLogWriter } from "#worker/worker/log-writer.ts";
import { type AttemptTools, runAttempt } from "#worker/worker/run-attempt.ts";
import type { TestDatabase } from "./database.ts";
import { registration, start } from "./engine.ts";
import { SILENT } from "./silent-log.ts";

/** A task of a definition file but for its id: `{ bash: "true", env: … }`. */
export type WrittenTask = Record<string, unknown>;

/** How an attempt ended, as the database has it. */
export type Ran = {
  attemptId: string;
  state: string;
  reason: string;
  error: string | null;
  output: unknown;
  xcoms: Record<string, unknown>;
  log: string;
};

export type RunOptions = {
  signal?: AbortSignal;
  /** The code of its functions, by path. */
  code?: Record<string, string>;
  /** Hears all that the attempt has logged so far, as it grows. */
  onLog?: (log: string) => void;
};

export type Attempts = {
  tools: AttemptTools;
  plugins: PluginTypes;
  secrets: Map<string, string>;
  /** Publishes a DAG of this one task, claims its attempt and runs it as a worker does, with a worker's real tools. */
  run(task: WrittenTask, options?: RunOptions): Promise<Ran>;
  /** Where attempts have their folders. */
  workFolder: string;
};

/** All that attempts are run with, for the tests of one file. `plugins` are paths of files. */
export function attemptTools(database: TestDatabase, plugins: readonly string[] = [], dockerHost?: string): Attempts {
  const attempts = { secrets: new Map<string, string>() } as Attempts;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), "sluice-attempts-"));
    const workFolder = path.join(folder, "work");
    await mkdir(workFolder);
    const opened = await openExecutors({ locations: plugins.map((file) => path.resolve(file)), base: process.cwd() });
    if (!opened.ok) throw new Error(opened.problems.join("\n"));
    const spawner = createSpawner({ env: plainEnv(), log: SILENT });
    const bundles = createBundleStore(path.join(folder, "bundles"), (hash) => readBundle(database.pool, hash));
    const tools: AttemptTools = {
      deps: database.deps,
      executors: opened.executors,
      inputs: createInputs(database.deps),
      diskTrouble: async () => undefined,
      spawner,
      bundles,
      containers: createContainers({ dockerHost, dockerMounts: [], taskPids: 100, labels: {}, log: SILENT }),
      functions: createFunctionPool({
        dagsDir: folder,
        env: plainEnv(),
        folderOf: bundles.folderOf,
        // A warm one stays; what attempts leave in their folder is looked for.
        place: ownPlace(folder),
      }),
      workFolder,
      network: createAddressGuard(["127.0.0.0/8"]),
      secrets: {
        place: "the test",
        get: async (names) => ({
          ok: true,
          values: new Map([...attempts.secrets].filter(([name]) => names.includes(name))),
        }),
      },
    };
    Object.assign(attempts, {
      tools,
      plugins: [...opened.executors.values()].filter(({ type }) => builtInType(type) === undefined),
      run: (task: WrittenTask, options: RunOptions = {}) => runOne(database, attempts, task, options),
      workFolder,
    } satisfies Partial<Attempts>);
  });

  afterAll(async () => {
    await attempts.tools.functions.stop();
    await attempts.tools.spawner.stop();
    await rm(folder, { recursive: true, force: true });
  });
  return attempts;
}

let runs = 0;

async function runOne(
  database: TestDatabase,
  { tools, plugins }: Attempts,
  task: WrittenTask,
  options: RunOptions,
): Promise<Ran> {
  const { deps, pool } = database;
  const claimed = await claimOne(database, plugins, { id: `d${++runs}`, tasks: [{ id: "t", ...task }] }, options.code);
  const log = createLogWriter(deps, { maxBytes: 1024 * 1024 }).open(claimed);
  let logged = "";
  const write: typeof log.write = async (stream, bytes) => {
    logged += bytes.toString();
    options.onLog?.(logged);
    await log.write(stream, bytes);
  };
  const end = await runAttempt(tools, claimed, options.signal ?? new AbortController().signal, { ...log, write });
  await log.stored();
  await finish(deps, [end ?? expect.fail("it was not begun")], "worker:w");
  const { rows } = await pool.query<Pick<Ran, "state" | "reason" | "error">>(
    "select state, reason, error from sluice.attempt where id = $1",
    [claimed.attemptId],
  );
  return { attemptId: claimed.attemptId, ...rows[0]!, ...(await leftBy(database, claimed)) };
}

async function claimOne(
  { deps, pool }: TestDatabase,
  plugins: PluginTypes,
  dag: { id: string; tasks: object[] },
  code: Record<string, string> | undefined,
): Promise<Claimed> {
  const parsed = parseDefinition(JSON.stringify(dag), `${dag.id}.json`, plugins);
  if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join("\n"));
  const bundle = code && sha256(canonicalJson(code));
  if (bundle !== undefined)
    await pool.query("insert into sluice.bundle (hash, files) values ($1, $2) on conflict do nothing", [bundle, code]);
  const spec = { ...parsed.spec, ...(bundle === undefined ? {} : { bundle }) };
  await inTx(pool, (tx) => publishVersion(tx, spec, { file: `${dag.id}.json`, source: "", author: "test" }));
  const types = [...Object.keys(TASK_TYPES), ...plugins.map(({ type }) => type)];
  const offers = offersOf({ labels: [], types });
  const ref = await registerWorker(deps, { ...registration("w"), offers });
  await start(deps, dag.id);
  for (const slotClass of SLOT_CLASSES) {
    const { claimed } = await claim(deps, ref, { queues: ["default"], slotClass }, [deps.newToken()]);
    if (claimed.length > 0) return claimed[0]!;
  }
  return expect.fail("the task was not to be claimed");
}

async function leftBy(
  { deps, pool }: TestDatabase,
  { taskInstanceId, number }: Claimed,
): Promise<Pick<Ran, "output" | "xcoms" | "log">> {
  const log = Buffer.concat((await deps.logs.read({ taskInstanceId, number }, -1)).map(({ chunk }) => chunk));
  const values = await pool.query<{ key: string; value: unknown }>(
    "select key, value from sluice.xcom where task_instance_id = $1",
    [taskInstanceId],
  );
  const { return_value: output, ...xcoms } = Object.fromEntries(values.rows.map(({ key, value }) => [key, value]));
  return { output, xcoms, log: log.toString() };
}
