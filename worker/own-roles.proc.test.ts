import { type ChildProcess, execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Login } from "#lib/db/roles/grants.ts";
import { plainEnv } from "#lib/env.ts";
import { clearRun } from "#lib/engine/run-actions.ts";
import { pauseDag, unpauseDag } from "#lib/engine/pause.ts";
import { startRun } from "#lib/engine/start-run.ts";
import { nothingBroken } from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { testWorld } from "#lib/testing/executor-world.ts";
import { ownRoles } from "#lib/testing/roles.ts";
import { killProcess, startScheduler, startWorker } from "#lib/testing/scheduler-process.ts";

/** Schedulers and workers as processes, the web's part and commands, each as the role that it has to itself. */

const database = testDatabase();
const roles = ownRoles(database);
const world = testWorld(database);
const CLI = path.resolve(import.meta.dirname, "../cli/sluice.mjs");
const CHAT = path.resolve(import.meta.dirname, "../docs/plugins/chat.ts");
const LOOK_AGAIN_MS = 50;

const said: string[] = [];
const children: ChildProcess[] = [];
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-roles-"));
  await chmod(folder, 0o755);
  const secrets = path.join(folder, "secrets.json");
  await writeFile(secrets, JSON.stringify({ DATABASE: database.url }), { mode: 0o600 });
  await writeFile(
    path.join(folder, "functions.ts"),
    `export const double = ({ outputs }: { outputs: { shell: number } }) => outputs.shell * 2;\n`,
  );
  await writeFile(
    path.join(folder, "every.yaml"),
    `
id: every
schedule: "0 0 1 1 *"
callbacks: { onSuccess: [{ http: { url: "${world.url}/ok/run", method: POST } }] }
tasks:
  - { id: shell, bash: 'echo 21 > "$SLUICE_OUTPUT"' }
  - { id: snake, python: "print('hello')" }
  - { id: double, dependsOn: [shell], fn: "./functions.ts#double" }
  - { id: call, http: { url: "${world.url}/ok/task" } }
  - { id: query, sql: { connection: "\${{ secrets.DATABASE }}", query: "select 1 as one" } }
  - { id: chat, chat: { webhook: "${world.url}/ok/chat", text: hi } }
  - { id: again, bash: '[ "$SLUICE_ATTEMPT" -ge 2 ]', retries: { max: 1, delay: 1s } }
  - { id: breaks, bash: exit 3 }
  - { id: late, dependsOn: [breaks], triggerRule: one_failed, bash: "true" }
  - { id: behind, dependsOn: [breaks], bash: "true" }
  - { id: end, dependsOn: [behind, late, double], triggerRule: all_done, noop: {} }
`,
  );
  const env = {
    SLUICE_PLUGINS: CHAT,
    SLUICE_SECRETS_FILE: secrets,
    SLUICE_HTTP_ALLOW: "127.0.0.1/32",
    SLUICE_MIN_FREE_DISK: "0Mi",
    SLUICE_HOME: path.join(folder, "home"),
  };
  for (const [login, start] of [
    ["scheduler", startScheduler],
    ["worker", startWorker],
  ] as const)
    children.push(
      await start({
        databaseUrl: roles.urlAs(login),
        dagsDir: folder,
        env,
        onLine: (line) => void said.push(`${login}: ${line}`),
      }),
    );
});

afterAll(async () => {
  await Promise.all(children.map(killProcess));
  await rm(folder, { recursive: true, force: true });
});

async function until<T>(read: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await read();
    if (found !== undefined) return found;
    await delay(LOOK_AGAIN_MS);
  }
}

const ended = (runId: string): Promise<string> =>
  until(async () => {
    const { rows } = await database.pool.query<{ state: string }>(
      "select state from sluice.dag_run where id = $1 and ended_at is not null and id not in (select run_id from sluice.run_action)",
      [runId],
    );
    return rows[0]?.state;
  });

async function tasks(runId: string): Promise<Record<string, string>> {
  const { rows } = await database.pool.query<{ task: string; state: string }>(
    `select d.task_id as task, t.state from sluice.task_instance t join sluice.dag_run r on r.id = t.run_id
       join sluice.dag_task d on d.version_id = r.version_id and d.ord = (t.id & 1048575) where r.id = $1`,
    [runId],
  );
  return Object.fromEntries(rows.map(({ task, state }) => [task, state]));
}

/** A command under the role of a process. */
function command(login: Login, ...args: string[]): Promise<{ code: number; text: string }> {
  const env = { ...plainEnv(), DATABASE_URL: roles.urlAs(login), SLUICE_PLUGINS: CHAT };
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { env }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), text: stdout + stderr }),
    );
  });
}

const refusals = (): string[] => said.filter((line) => line.includes("permission denied"));

const REST = {
  shell: "success",
  snake: "success",
  double: "success",
  call: "success",
  query: "success",
  chat: "success",
  again: "success",
  breaks: "failed",
  late: "success",
  behind: "upstream_failed",
  end: "success",
};

describe("with a role for each process", () => {
  test("a run is triggered, its tasks of each type run and are repeated, its end is told, and it is cleared", async () => {
    const web = await roles.depsOf("web");
    const { runId } = await startRun(web, { dagId: "every", conf: {}, triggerKind: "manual", actor: "anna" });
    expect(await ended(runId)).toBe("success");
    expect(await tasks(runId)).toEqual(REST);
    await until(async () => world.requests.find((request) => request.path === "/ok/run"));
    expect(await clearRun(web, runId, {}, { actor: "anna" })).toBe(true);
    await until(async () => ((await tasks(runId)).shell === "success" ? undefined : true));
    await ended(runId);
    expect(await tasks(runId)).toEqual(REST);
    expect(refusals()).toEqual([]);
  });

  test("a DAG is paused and goes on", async () => {
    const web = await roles.depsOf("web");
    await pauseDag(web, "every", "anna");
    const { runId } = await startRun(web, { dagId: "every", conf: {}, triggerKind: "manual", actor: "anna" });
    await unpauseDag(web, "every");
    expect(await ended(runId)).toBe("success");
    expect(refusals()).toEqual([]);
  });

  test("a backfill runs to its end", async () => {
    const made = await command(
      "scheduler",
      "backfill",
      "create",
      "--dag",
      "every",
      "--start",
      "2020-01-01",
      "--end",
      "2021-01-01",
    );
    expect(made).toMatchObject({ code: 0 });
    const { rows } = await database.pool.query("select state from sluice.backfill");
    expect(rows).toEqual([{ state: "success" }]);
    expect(refusals()).toEqual([]);
  });

  test.for(["scheduler", "web"] as const)("the doctor asks as %s", async (login) => {
    const { text } = await command(login, "doctor", "--json");
    const { checks } = JSON.parse(text) as { checks: { id: string; broken: unknown[] }[] };
    expect(checks.filter(({ broken }) => broken.length > 0)).toEqual([]);
  });

  test("what people change by commands is changed by schedulers' role", async () => {
    for (const args of [
      ["pools", "set", "narrow", "3"],
      ["pools", "set", "narrow", "2"],
      ["pools", "delete", "narrow"],
      ["limits", "set", "max-active-tasks", "50"],
      ["limits", "set", "max-active-tasks", "none"],
      ["quarantine", "list"],
      ["db", "retention", "90d"],
      ["db", "size"],
      ["dags", "list"],
    ])
      expect([args, await command("scheduler", ...args)]).toEqual([args, { code: 0, text: expect.any(String) }]);
    await nothingBroken(database.deps);
  });
});
