import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sha256 } from "#lib/domain/canonical.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { printedForms } from "#lib/testing/secret-encoders.ts";
import { readBundle } from "#lib/db/bundles.ts";
import type { Claimed } from "#lib/db/claims.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { claim } from "#lib/engine/claim.ts";
import { finish } from "#lib/engine/finish.ts";
import { plainEnv } from "#lib/env.ts";
import { createContainers } from "#lib/executors/docker/containers.ts";
import { createAddressGuard } from "#lib/executors/http-address.ts";
import { executorsWith } from "#lib/executors/registry.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { start, worker } from "#lib/testing/engine.ts";
import { createBundleStore } from "../functions/bundle-store.ts";
import { createFunctionPool } from "../functions/pool.ts";
import { ownPlace } from "../guests/place.ts";
import { createFileSecrets } from "../secrets/file.ts";
import { createSpawner } from "../spawner/client.ts";
import { createLogWriter } from "./log-writer.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createInputs } from "./inputs.ts";
import { type AttemptTools, runAttempt } from "./run-attempt.ts";

const database = testDatabase();

const TOKEN = "c4nary/tok+en=äö";
const KEY = "-----BEGIN CANARY-----\nMIIcanaryline1\n\nMIIcanaryline2\n-----END CANARY-----\n";
const UNUSED = "another-tasks-secret";

const CODE = `
  export const prints = ({ env }) => { console.log("token: " + env.TOKEN); return { said: env.TOKEN, [env.TOKEN]: 1 }; };
  export const fails = ({ env }) => { throw new Error("no luck with " + env.TOKEN); };
`;

let folder: string;
let tools: AttemptTools;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-secrets-"));
  await writeFile(path.join(folder, "secrets.json"), JSON.stringify({ TOKEN, KEY, UNUSED, DATABASE: database.url }), {
    mode: 0o600,
  });
  await mkdir(path.join(folder, "work"));
  const spawner = createSpawner({ env: plainEnv(), log: SILENT });
  const bundles = createBundleStore(path.join(folder, "bundles"), (hash) => readBundle(database.pool, hash));
  tools = {
    deps: database.deps,
    executors: executorsWith([]),
    inputs: createInputs(database.deps),
    diskTrouble: async () => undefined,
    spawner,
    bundles,
    functions: createFunctionPool({
      dagsDir: folder,
      env: plainEnv(),
      folderOf: bundles.folderOf,
      place: ownPlace(folder),
    }),
    containers: createContainers({ dockerHost: undefined, dockerMounts: [], taskPids: 100, labels: {}, log: SILENT }),
    workFolder: path.join(folder, "work"),
    network: createAddressGuard([]),
    secrets: createFileSecrets(path.join(folder, "secrets.json")),
  };
});
afterAll(async () => {
  await tools.functions.stop();
  await tools.spawner.stop();
  await rm(folder, { recursive: true, force: true });
});

const never = new AbortController().signal;

/** Runs the tasks as a worker does and answers how their attempts ended, by task. */
async function run(dagId: string, tasks: object[]): Promise<Record<string, { reason: string; error: string | null }>> {
  const { deps, pool } = database;
  const bundle = sha256(CODE);
  await pool.query("insert into sluice.bundle (hash, files) values ($1, $2) on conflict do nothing", [
    bundle,
    { "code.ts": CODE },
  ]);
  const spec = DagSpec.parse({ id: dagId, tasks, bundle });
  await inTx(pool, (tx) => publishVersion(tx, spec, { file: `${dagId}.yaml`, source: "", author: "test" }));
  const ref = await worker(deps, "w");
  const runId = await start(deps, dagId);
  const claimed: Claimed[] = [];
  for (const slotClass of ["process", "function", "inline"] as const)
    claimed.push(...(await claim(deps, ref, { queues: ["default"], slotClass }, tasks.map(deps.newToken))).claimed);
  expect(claimed).toHaveLength(tasks.length);
  const logs = createLogWriter(deps, { maxBytes: 1024 * 1024 });
  for (const attempt of claimed) {
    const log = logs.open(attempt);
    const end = await runAttempt(tools, attempt, never, log);
    await log.stored();
    await finish(deps, [end ?? expect.fail("it was not begun")], "worker:w");
  }
  const { rows } = await pool.query<{ id: string; reason: string; error: string | null }>(
    `select t.task_id as id, a.reason, a.error
       from sluice.attempt a
       join sluice.dag_run r on r.id = a.task_instance_id >> 20
       join sluice.dag_task t on t.version_id = r.version_id and t.ord = a.task_instance_id & 1048575
      where r.id = $1`,
    [runId],
  );
  return Object.fromEntries(rows.map(({ id, ...end }) => [id, end]));
}

async function logs(): Promise<string> {
  const { rows } = await database.pool.query<{ taskInstanceId: string; number: number }>(
    `select distinct task_instance_id::text as "taskInstanceId", attempt as number from sluice.task_log order by 1, 2`,
  );
  const read = rows.map((attempt) => database.deps.logs.read(attempt, -1));
  return Buffer.concat((await Promise.all(read)).flat().map(({ chunk }) => chunk)).toString();
}

/** Every row of every table, as text; bytes are hexadecimal there, and logs compressed. */
async function everything(): Promise<string> {
  const { rows: tables } = await database.pool.query<{ name: string }>(
    `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
      where table_schema in ('sluice', 'sluice_boss') and table_type = 'BASE TABLE'`,
  );
  const texts: string[] = [];
  for (const { name } of tables) {
    const { rows } = await database.pool.query<{ row: string }>(`select t::text as row from ${name} t`);
    texts.push(...rows.map(({ row }) => row));
  }
  return [...texts, await logs()].join("\n");
}

const env = { TOKEN: "${{ secrets.TOKEN }}", KEY: "${{ secrets.KEY }}" };

test("a secret reaches its task, and nothing of it reaches the database, in no form", async () => {
  const ends = await run("canary", [
    {
      id: "shell",
      type: "bash",
      env,
      config: {
        // The halves are two writes, which may arrive as two pieces; the argument list is the kernel's.
        command: `
          printf '%s' "\${TOKEN:0:6}"; printf '%s\\n' "\${TOKEN:6}"
          printf '%s' "$TOKEN" | base64; printf '%s' "user:$TOKEN" | base64; echo "$KEY" >&2
          echo "another-tasks-secret is not this task's"
          ! tr '\\0' ' ' < /proc/$$/cmdline | grep -qF "$TOKEN"
          printf '{"token": "%s", "lines": ["%s"]}' "$TOKEN" "$(sed -n 4p <<< "$KEY")" > "$SLUICE_OUTPUT"`,
      },
    },
    {
      id: "python",
      type: "python",
      env,
      config: {
        code: `import json, os, sys, urllib.parse
print(urllib.parse.quote(os.environ["TOKEN"], safe=""), json.dumps(os.environ["KEY"]), repr([os.environ["TOKEN"]]))
sys.exit("cannot log in with " + os.environ["TOKEN"])`,
      },
    },
    { id: "prints", type: "fn", env, config: { module: "code.ts", export: "prints" } },
    { id: "fails", type: "fn", env, config: { module: "code.ts", export: "fails" } },
    { id: "http", type: "http", config: { url: "http://localhost/${{ secrets.TOKEN }}", headers: { a: env.TOKEN } } },
    {
      id: "rows",
      type: "sql",
      config: { connection: "${{ secrets.DATABASE }}", query: "select $1::text as token", params: [env.TOKEN] },
    },
    {
      id: "wrong",
      type: "sql",
      config: { connection: "${{ secrets.DATABASE }}", query: "select $1::int", params: [env.TOKEN] },
    },
    {
      id: "slow",
      type: "sql",
      timeout: "200ms",
      config: { connection: "${{ secrets.DATABASE }}", query: "select pg_sleep(600)" },
    },
    { id: "url", type: "http", config: { url: "${{ 'gopher://' + secrets.TOKEN }}" } },
  ]);
  expect(ends).toMatchObject({
    shell: { reason: "EXIT", error: null },
    python: { reason: "EXIT", error: "the program ended with exit code 1" },
    prints: { error: null },
    fails: { reason: "EXCEPTION", error: "Error: no luck with ***" },
    http: { reason: "ADDRESS_REFUSED" },
    rows: { error: null },
    wrong: {
      reason: "SQL_ERROR",
      error: 'invalid input syntax for type integer: "***" (SQLSTATE 22P02)',
    },
    slow: { reason: "TIMEOUT", error: "the attempt took longer than its timeout of 200ms" },
  });
  const log = await logs();
  expect(log).toContain("***\n***\n");
  expect(log).toContain("cannot log in with ***");
  expect(log).toContain("token: ***");
  expect(log).toContain("another-tasks-secret is not this task's");
  const { rows } = await database.pool.query<{ value: unknown }>("select value from sluice.xcom order by 1");
  expect(rows.map(({ value }) => value)).toEqual(
    expect.arrayContaining([{ token: "***", lines: ["***"] }, { said: "***", "***": 1 }, [{ token: "***" }]]),
  );
  const kept = await everything();
  for (const form of [TOKEN, KEY, database.url].flatMap(printedForms)) {
    expect(kept).not.toContain(form);
    expect(kept).not.toContain(Buffer.from(form).toString("hex"));
  }
});

test("a secret that is missing ends the attempt without a retry; a file that cannot be used is asked again", async () => {
  const retries = { max: 2, delay: "1h" };
  const task = (id: string, name: string): object => ({
    id,
    type: "bash",
    retries,
    config: { command: "true" },
    env: { X: `\${{ secrets.${name} }}` },
  });
  const file = path.join(folder, "secrets.json");
  const ends = await run("missing", [task("missing", "NOT_THERE")]);
  expect(ends.missing).toEqual({
    reason: "SECRET_MISSING",
    error: `the secret "NOT_THERE" is not in the file ${file}`,
  });
  await chmod(file, 0o644);
  const broken = await run("broken", [task("broken", "TOKEN")]);
  await chmod(file, 0o600);
  expect(broken.broken).toEqual({
    reason: "SECRETS_UNREADABLE",
    error: expect.stringMatching(/secrets.json has mode 0644, .* \(chmod 600\)$/),
  });
  const { rows } = await database.pool.query<{ dag: string; state: string }>(
    `select r.dag_id as dag, t.state from sluice.task_instance t join sluice.dag_run r on r.id = t.run_id
      where r.dag_id in ('missing', 'broken') order by 1`,
  );
  expect(rows).toEqual([
    { dag: "broken", state: "retrying" },
    { dag: "missing", state: "failed" },
  ]);
});
