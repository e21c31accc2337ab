import { beforeEach, expect, test } from "vitest";
import { upsertPool } from "#lib/db/pools.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimSome, forgetRuns, registration, start, states, success, worker } from "#lib/testing/engine.ts";
import { admit, admitLeft } from "./admit.ts";
import { claim } from "./claim.ts";
import { createEngineDeps, type EngineDeps } from "./deps.ts";
import { finish } from "./finish.ts";
import { registerWorker } from "./register-worker.ts";

/** A pass of admission leaves no slot idle that a task could take, and no end of an attempt unheard. */

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

async function publishWide(id: string, count = 1, task: object = {}): Promise<void> {
  const tasks = Array.from({ length: count }, (_, n) => ({
    id: `t${n}`,
    type: "bash",
    config: { command: "true" },
    ...task,
  }));
  const spec = DagSpec.parse({ id, limits: { maxActiveRuns: 50 }, tasks });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** A process whose requests for a pass no scheduler hears. */
const unheard = (): EngineDeps => createEngineDeps({ ...database.deps, requestPass: () => Promise.resolve() });

async function startReady(dagId: string): Promise<string> {
  await database.pool.query("update sluice.worker set state = 'draining'");
  const runId = await start(unheard(), dagId);
  await database.pool.query("update sluice.worker set state = 'active'");
  return runId;
}

async function liveOf(dagId: string): Promise<number> {
  const { rowCount } = await database.pool.query(
    "select from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id where w.dag_id = $1",
    [dagId],
  );
  return rowCount!;
}

test("classes that a limit blocks leave the lane's free slots to a class that nothing blocks", async () => {
  const { deps, pool } = database;
  await upsertPool(pool, "full", 1, undefined);
  const blocked = Array.from({ length: 60 }, (_, n) => `blocked-${n}`);
  for (const id of blocked) await publishWide(id, 1, { pool: "full" });
  await publishWide("free", 200);
  for (const id of [...blocked, "free"]) await startReady(id);
  await worker(unheard(), "w", 100);
  await admit(deps);
  expect(await liveOf("free")).toBeGreaterThanOrEqual(100);
});

test("ends between a pass's reading and its writing are followed by another pass", async () => {
  const { deps, pool } = database;
  await publishWide("first");
  await publishWide("second");
  const w = await worker(deps, "w", 1);
  await start(deps, "first");
  await start(deps, "first");
  await admitLeft(deps);
  const claimed = await claimSome(deps, w, 1);
  let isLate = true;
  const endAll = async (): Promise<void> => {
    isLate = false;
    await finish(unheard(), claimed.map(success), "worker:w");
    await finish(unheard(), (await claimSome(deps, w, 1)).map(success), "worker:w");
  };
  // The pool of a process whose pass is stopped between its decision and its one call that writes.
  const stopping = new Proxy(pool, {
    get(of, key) {
      const value: unknown = Reflect.get(of, key);
      if (key !== "query") return typeof value === "function" ? (value.bind(of) as unknown) : value;
      return async (query: { name?: string }) => {
        if (query.name === "admit-1" && isLate) await endAll();
        return of.query(query as never);
      };
    },
  });
  const second = await startReady("second");
  await admit(createEngineDeps({ ...deps, pool: stopping }));
  expect(isLate).toBe(false);
  expect(await states(deps, second)).toEqual(["queued"]);
});

test("a task that requires a label is bound to no busy worker while another may become free first", async () => {
  const { deps } = database;
  await publishWide("gpu", 3, { workerLabels: ["gpu"] });
  const workers = [];
  for (const id of ["w1", "w2"]) workers.push(await registerWorker(deps, { ...registration(id, 1), offers: ["gpu"] }));
  await start(deps, "gpu");
  await admitLeft(deps);
  const first = await claimSome(deps, workers[0]!, 1);
  const second = await claimSome(deps, workers[1]!, 1);
  expect([first.length, second.length]).toEqual([1, 1]);
  await admitLeft(deps);
  await finish(deps, second.map(success), "worker:w2");
  await admitLeft(deps);
  expect(await claimSome(deps, workers[1]!, 1)).toHaveLength(1);
});

test("a worker of one queue gets its tasks while the queues that another worker joins with it are full", async () => {
  const { deps } = database;
  const queues = ["q1", "q2", "q3"];
  for (const queue of queues) await publishWide(`of-${queue}`, 100, { queue });
  const join = (id: string, slots: number, served: string[]) =>
    registerWorker(deps, { ...registration(id, slots), queues: served });
  const own = await join("own", 4, ["q1"]);
  await join("second", 4, ["q2"]);
  await join("third", 4, ["q3"]);
  await join("shared", 40, queues);
  await start(deps, "of-q2");
  await start(deps, "of-q3");
  for (let n = 0; n < 3; n++) await admitLeft(deps);
  await start(deps, "of-q1");
  await admitLeft(deps);
  const tokens = Array.from({ length: 4 }, deps.newToken);
  const { claimed } = await claim(deps, own, { queues: ["q1"], slotClass: "process" }, tokens);
  expect(claimed).toHaveLength(4);
});
