import { beforeEach, describe, expect, test } from "vitest";
import type { Claimed } from "#lib/db/claims.ts";
import { applyAdmission } from "#lib/db/admission.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { renewLeases } from "#lib/db/workers.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  claimSome,
  liveAttempts,
  runState,
  start,
  startReady,
  success,
  worker,
  forgetRuns,
} from "#lib/testing/engine.ts";
import { admission, held, waitsForLock } from "#lib/testing/races.ts";
import { createEngineDeps } from "./deps.ts";
import { admit, planAdmission } from "./admit.ts";
import { finish } from "./finish.ts";
import { LEASE_MS } from "./lease.ts";
import { clearTask } from "./run-actions.ts";
import { startQueuedRuns } from "./start-queued-runs.ts";

/** Every limit, when two count at once and when it is changed below what is going on. */

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

async function define(id: string, limits: object, task: object = {}): Promise<void> {
  const tasks = Array.from({ length: 6 }, (_, n) => ({
    id: `t${n}`,
    type: "bash",
    config: { command: "true" },
    ...task,
  }));
  const spec = DagSpec.parse({ id, limits, tasks });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** Makes a DAG of six tasks of which so many may be going, or gives it another limit. */
const LIMITS: Record<string, (size: number) => Promise<void>> = {
  pool: async (size) => {
    await upsertPool(database.pool, "shared", size, undefined);
    await define("limited", {}, { pool: "shared" });
  },
  "large tasks' pool": async (size) => {
    // Two slots each; the odd one is of no use.
    await upsertPool(database.pool, "wide", 2 * size + 1, undefined);
    await define("limited", {}, { pool: "wide", slots: 2 });
  },
  DAG: (maxActiveTasks) => define("limited", { maxActiveTasks }),
  run: (maxActiveTasksPerRun) => define("limited", { maxActiveTasksPerRun }),
  system: async (size) => {
    await setSystemLimit(database.pool, "max_active_tasks", size);
    await define("limited", {});
  },
};

describe.for(Object.entries(LIMITS))("the %s's limit of tasks", ([, limit]) => {
  test("holds when two admissions come at once: the second counts what the first admitted", async () => {
    const { deps, pool } = database;
    await limit(2);
    await startReady(deps, "limited");
    const first = await held(deps, admission);
    const second = inTx(pool, admission);
    await waitsForLock(deps);
    await first.commit();
    expect([first.result, await second]).toEqual([2, 0]);
  });

  test("made smaller ends nothing that is going, and admits nothing before there is room", async () => {
    const { deps, pool } = database;
    await limit(3);
    const w = await worker(deps, "w");
    await start(deps, "limited");
    const going = await claimSome(deps, w, 2);
    expect(await liveAttempts(deps)).toEqual(["queued", "running", "running"]);
    await limit(1);
    await admit(deps);
    going.push(...(await claimAll(deps, w)));
    const refs = going.map(({ taskInstanceId, token }) => ({ taskInstanceId, token }));
    expect((await renewLeases(pool, w, refs, LEASE_MS)).held).toHaveLength(3);
    const left: string[][] = [];
    for (const attempt of going) {
      await finish(deps, [success(attempt)], "worker:w");
      left.push(await liveAttempts(deps));
    }
    expect(left).toEqual([["running", "running"], ["running"], ["queued"]]);
  });

  test("made larger admits as many more", async () => {
    const { deps } = database;
    await limit(1);
    await worker(deps, "w");
    await start(deps, "limited");
    await limit(4);
    await admit(deps);
    expect(await liveAttempts(deps)).toHaveLength(4);
  });
});

describe("the limit of a DAG's runs", () => {
  const going = async (runs: readonly string[]): Promise<string[]> =>
    Promise.all(runs.map((runId) => runState(database.deps, runId)));

  async function startThree(dagId: string, maxActiveRuns: number): Promise<{ runs: string[]; claimed: Claimed[] }> {
    const { deps } = database;
    await define(dagId, { maxActiveRuns });
    const w = await worker(deps, "w");
    const runs = [await start(deps, dagId), await start(deps, dagId), await start(deps, dagId)];
    return { runs, claimed: await claimAll(deps, w) };
  }

  test("holds when two schedulers look at once for what may start", async () => {
    const { deps } = database;
    const { runs } = await startThree("schedulers", 1);
    await define("schedulers", { maxActiveRuns: 2 });
    const lock = await held(deps, (tx) => tx.query("select from sluice.dag where id = 'schedulers' for no key update"));
    // Each with its own passes, as two processes have.
    const schedulers = [
      startQueuedRuns(createEngineDeps(deps), ["schedulers"]),
      startQueuedRuns(createEngineDeps(deps), ["schedulers"]),
    ];
    await waitsForLock(deps, 2);
    await lock.commit();
    await Promise.all(schedulers);
    expect(await going(runs)).toEqual(["running", "running", "queued"]);
  });

  test("made smaller ends no run, and starts none before there is room", async () => {
    const { deps } = database;
    const { runs, claimed } = await startThree("smaller", 2);
    await define("smaller", { maxActiveRuns: 1 });
    const of = (runId: string): Claimed[] => claimed.filter((attempt) => attempt.runId === runId);
    await finish(deps, of(runs[0]!).map(success), "worker:w");
    expect(await going(runs)).toEqual(["success", "running", "queued"]);
    await finish(deps, of(runs[1]!).map(success), "worker:w");
    expect(await going(runs)).toEqual(["success", "success", "running"]);
  });

  test("keeps a run that was cleared queued until there is room, and counts it from then on", async () => {
    const { deps } = database;
    const { runs, claimed } = await startThree("cleared", 1);
    await finish(deps, claimed.map(success), "worker:w");
    expect(await going(runs)).toEqual(["success", "running", "queued"]);
    await clearTask(deps, taskInstanceId(runs[0]!, 0), { actor: "anna" });
    expect(await going(runs)).toEqual(["queued", "running", "queued"]);
    const second = (await claimAll(deps, await worker(deps, "w"))).filter(({ runId }) => runId === runs[1]);
    await finish(deps, second.map(success), "worker:w");
    expect(await going(runs)).toEqual(["running", "success", "queued"]);
  });
});

test("a limit that is lowered again while a pass counts by the one before stays marked", async () => {
  const { deps, pool } = database;
  await worker(deps, "w");
  await upsertPool(pool, "twice", 3, undefined);
  const marked = async (): Promise<string[]> =>
    (await pool.query<{ key: string }>("select key from sluice.lowered_limit")).rows.map(({ key }) => key);
  const pass = () => planAdmission(pool, deps.caches.classes, "open lanes");
  await upsertPool(pool, "twice", 2, undefined);
  expect(await marked()).toEqual(["pool:twice"]);
  const { plan } = await pass();
  await upsertPool(pool, "twice", 1, undefined);
  await applyAdmission(pool, plan);
  expect(await marked()).toEqual(["pool:twice"]);
  await applyAdmission(pool, (await pass()).plan);
  expect(await marked()).toEqual([]);
});
