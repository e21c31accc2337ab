import type { ChildProcess } from "node:child_process";
import { execFileSync } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { start } from "#lib/testing/engine.ts";
import { ownRoles } from "#lib/testing/roles.ts";
import { killProcess, startWorker } from "#lib/testing/scheduler-process.ts";
import { publishScheduled } from "#lib/testing/schedules.ts";
import { NEEDED_CAPABILITIES } from "./task-user.ts";

/** A worker as docker-compose.yml has it: root with five capabilities, no new privileges, its own role of the database. */

const isPossible = process.getuid?.() === 0 && process.platform === "linux" && has("setpriv");
const database = testDatabase();
const roles = ownRoles(database);
const LOOK_AGAIN_MS = 50;

let folder: string;
let worker: ChildProcess | undefined;

function has(program: string): boolean {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-isolation-"));
  if (!isPossible) return;
  // As the image's home: who tasks run as passes through to their own folders.
  await chmod(folder, 0o711);
  const powers = Object.keys(NEEDED_CAPABILITIES).map((name) => `+${name.toLowerCase()}`);
  worker = await startWorker({
    databaseUrl: roles.urlAs("worker"),
    dagsDir: folder,
    env: {
      SLUICE_TASK_USER: "61000-61999",
      SLUICE_PROCESS_SLOTS: "2",
      SLUICE_HOME: path.join(folder, "home"),
      SLUICE_MIN_FREE_DISK: "0Mi",
    },
    under: ["setpriv", "--bounding-set", `-all,${powers.join()}`, "--inh-caps", "-all", "--no-new-privs"],
  });
});

afterAll(async () => {
  if (worker !== undefined) await killProcess(worker);
  await rm(folder, { recursive: true, force: true });
});

/** Who it is, what it may do, and in how many environments of other processes it finds an address of the database. */
const SPY = `
found=0
for file in /proc/[0-9]*/environ; do
  if tr '\\0' '\\n' < "$file" 2>/dev/null | grep -q '^DATABASE_'; then found=$((found + 1)); fi
done
powers=$(sed -n 's/^CapEff:\\s*//p' /proc/self/status)
echo "{\\"uid\\": $(id -u), \\"powers\\": \\"$powers\\", \\"found\\": $found, \\"worker\\": $(tr '\\0' '\\n' < /proc/self/environ | grep -c '^DATABASE_')}" > "$SLUICE_OUTPUT"
`;

test.runIf(isPossible)("a task has a user of its own, no power, and finds no address of the database", async () => {
  await publishScheduled(database.deps, "spy", { tasks: [{ id: "spy", type: "bash", config: { command: SPY } }] });
  const runId = await start(database.deps, "spy");
  const ended = async (): Promise<string | null> => {
    const { rows } = await database.pool.query<{ state: string }>(
      "select state from sluice.dag_run where id = $1 and ended_at is not null",
      [runId],
    );
    return rows[0]?.state ?? null;
  };
  while ((await ended()) === null) await delay(LOOK_AGAIN_MS);
  const { rows } = await database.pool.query<{ value: { uid: number } }>("select value from sluice.xcom");
  expect(rows).toEqual([
    { value: { uid: expect.any(Number) as number, powers: "0000000000000000", found: 0, worker: 0 } },
  ]);
  expect(rows[0]!.value.uid).toBeGreaterThanOrEqual(61_000);
  expect(rows[0]!.value.uid).toBeLessThan(62_000);
});
