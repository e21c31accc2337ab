import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { runState, start } from "#lib/testing/engine.ts";
import { killProcess, startScheduler, startWorker } from "#lib/testing/scheduler-process.ts";

/** What docs/connections.md says of sessions. */
const MOST = { scheduler: 7, worker: 4 };

const database = testDatabase();
const children: ChildProcess[] = [];
let dagsDir: string;

beforeAll(async () => {
  dagsDir = await mkdtemp(path.join(os.tmpdir(), "sluice-connections-"));
  const options = { databaseUrl: database.url, dagsDir };
  children.push(...(await Promise.all([startScheduler(options), startWorker(options)])));
});

afterAll(async () => {
  await Promise.all(children.map(killProcess));
  await rm(dagsDir, { recursive: true });
});

test("a worker and a scheduler at work have no more sessions than they may", async () => {
  const { deps, pool } = database;
  const tasks = Array.from({ length: 200 }, (_, n) => ({
    id: `t${n}`,
    type: n % 2 === 0 ? "noop" : "bash",
    config: n % 2 === 0 ? {} : { command: "echo hi" },
    dependsOn: n < 20 ? [] : [`t${n - 20}`],
  }));
  const spec = DagSpec.parse({ id: "busy", tasks });
  await inTx(pool, (tx) => publishVersion(tx, spec, { file: "busy.yaml", source: "", author: "test" }));
  const runId = await start(deps, "busy");
  let most = 0;
  for (let state = "running"; state === "running"; state = await runState(deps, runId)) {
    const { rows } = await pool.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity
        where datname = current_database() and application_name like 'sluice-%' and application_name <> 'sluice-test'`,
    );
    most = Math.max(most, rows[0]!.n);
    await delay(20);
  }
  expect(await runState(deps, runId)).toBe("success");
  expect(most).toBeGreaterThan(3);
  expect(most).toBeLessThanOrEqual(MOST.scheduler + MOST.worker);
});
