import { beforeEach, describe, expect, test } from "vitest";
import { advance } from "#lib/db/backfill/advance.ts";
import { activateRuns } from "#lib/db/runs.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import {
  backfill,
  counts,
  forgetBackfills,
  going,
  january,
  nothingBroken,
  publishDaily,
  runsOf,
} from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  failed,
  forgetRuns,
  keepsLease,
  runState,
  start,
  states,
  success,
  worker,
} from "#lib/testing/engine.ts";
import { pauseDag, unpauseDag } from "./pause.ts";
import { finish } from "./finish.ts";
import { pauseRun, resumeRun } from "./pause.ts";
import { rollbackVersion } from "./rollback-version.ts";
import { cancelRun, clearRun } from "./run-actions.ts";

/** Runs become `running` through one door only: also those that a person lets go on. */

const database = testDatabase();
const anna = { actor: "anna" };

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
});

async function publishLimited(id: string, maxActiveRuns: number): Promise<void> {
  const bash = { type: "bash", config: { command: "true" } };
  const spec = DagSpec.parse({
    id,
    limits: { maxActiveRuns },
    tasks: [
      { id: "load", ...bash },
      { id: "check", ...bash, dependsOn: ["load"] },
    ],
  });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** Ends what is claimable with `end`, and again what that made claimable, until nothing is left. */
async function work(end: typeof success | typeof failed): Promise<void> {
  const { deps } = database;
  const w = await worker(deps, "w");
  for (let claimed = await claimAll(deps, w); claimed.length > 0; claimed = await claimAll(deps, w)) {
    await finish(
      deps,
      claimed.map((one) => end(one)),
      "worker:w",
    );
    await nothingBroken(deps);
  }
}

const runningOf = async (dagId: string): Promise<number> => {
  const { rowCount } = await database.pool.query("select from sluice.dag_run where dag_id = $1 and state = 'running'", [
    dagId,
  ]);
  return rowCount!;
};

describe("a run that a person lets go on", () => {
  test("waits for the run that has its DAG's only place, and goes on where it was", async () => {
    const { deps, pool } = database;
    await publishLimited("mutex", 1);
    const w = await worker(deps, "w");
    const first = await start(deps, "mutex");
    await finish(deps, (await claimAll(deps, w)).map(failed), "worker:w");
    const began = await pool.query("select started_at from sluice.dag_run where id = $1", [first]);
    const second = await start(deps, "mutex");
    await clearRun(deps, first, { onlyFailed: true }, anna);
    expect([await runState(deps, first), await runState(deps, second)]).toEqual(["queued", "running"]);
    expect(await states(deps, first)).toEqual(["ready", "waiting"]);
    await nothingBroken(deps);
    // Nothing of it is handed over, though its first task waits for nothing.
    const claimed = await claimAll(deps, w);
    expect(claimed.map(({ runId }) => runId)).toEqual([second]);
    await finish(deps, claimed.map(failed), "worker:w");
    expect(await runState(deps, first)).toBe("running");
    await work(success);
    expect(await runState(deps, first)).toBe("success");
    expect((await pool.query("select started_at from sluice.dag_run where id = $1", [first])).rows).toEqual(began.rows);
  });

  test("waits while its DAG is paused", async () => {
    const { deps } = database;
    await publishLimited("paused", 2);
    const runId = await start(deps, "paused");
    await work(failed);
    await pauseDag(deps, "paused", "bert");
    await clearRun(deps, runId, {}, anna);
    expect(await runState(deps, runId)).toBe("queued");
    await nothingBroken(deps);
    await unpauseDag(deps, "paused");
    await work(success);
    expect(await runState(deps, runId)).toBe("success");
  });

  test("can be cancelled while it waits", async () => {
    const { deps } = database;
    await publishLimited("given-up", 1);
    const first = await start(deps, "given-up");
    await work(failed);
    await start(deps, "given-up");
    await clearRun(deps, first, {}, anna);
    expect(await cancelRun(deps, first, anna)).toBe(true);
    expect([await runState(deps, first), await states(deps, first)]).toEqual(["cancelled", ["cancelled", "cancelled"]]);
    await nothingBroken(deps);
  });

  test("waits for its backfill's limit", async () => {
    const { deps } = database;
    await publishDaily(deps, "slices");
    const id = await backfill(deps, january("slices", { end: "2024-01-03", maxActive: 1 }));
    const w = await worker(deps, "w");
    await finish(deps, (await claimAll(deps, w)).map(failed), "worker:w");
    const [first] = await runsOf(deps, id);
    await clearRun(deps, first!.id, {}, anna);
    expect(await going(deps, id)).toEqual(["01-02"]);
    await nothingBroken(deps);
    await work(success);
    expect(await counts(deps, id)).toEqual({ success: 3 });
  });
});

test("two runs of a DAG that allows one never overlap, whoever clears, starts and ends at the same time", async () => {
  const { deps, pool } = database;
  await publishLimited("races", 1);
  const w = await worker(deps, "w");
  const runs = await Promise.all(Array.from({ length: 4 }, () => start(deps, "races")));
  await work(failed);
  for (let round = 0; round < 4; round++) {
    let most = 0;
    const watch = async (): Promise<void> => {
      most = Math.max(most, await runningOf("races"));
    };
    await Promise.all([
      ...runs.map((runId) => clearRun(deps, runId, { onlyFailed: true }, anna)),
      // Several processes, which do not share passes.
      retried(() => activateRuns(pool, "races")),
      retried(() => activateRuns(pool, "races")),
      start(deps, "races"),
      ...Array.from({ length: 10 }, watch),
    ]);
    await watch();
    expect(most).toBeLessThanOrEqual(1);
    await nothingBroken(deps);
    await Promise.all([
      finish(deps, (await claimAll(deps, w)).map(failed), "worker:w"),
      retried(() => activateRuns(pool, "races")),
      ...Array.from({ length: 10 }, watch),
    ]);
    expect(most).toBeLessThanOrEqual(1);
    await nothingBroken(deps);
  }
  await work(success);
  expect((await pool.query("select from sluice.dag_run where ended_at is null")).rowCount).toBe(0);
}, 60_000);

describe("where a DAG allows one run at a time", () => {
  test("runs of its backfills count, and a queued run of its own goes before them", async () => {
    const { deps } = database;
    await publishDaily(deps, "one", { limits: { maxActiveRuns: 1 } });
    const w = await worker(deps, "w");
    const id = await backfill(deps, january("one", { end: "2024-01-04" }));
    expect(await counts(deps, id)).toEqual({ running: 1, queued: 3 });
    const own = await start(deps, "one");
    expect(await runState(deps, own)).toBe("queued");
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    expect(await runState(deps, own)).toBe("running");
    expect(await counts(deps, id)).toEqual({ success: 1, queued: 3 });
    await nothingBroken(deps);
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    await advance(deps.pool, id);
    expect(await counts(deps, id)).toEqual({ success: 1, running: 1, queued: 2 });
    await work(success);
    await nothingBroken(deps);
    expect(await counts(deps, id)).toEqual({ success: 4 });
  });

  test("runs of two backfills and its own never overlap, whoever starts them", async () => {
    const { deps, pool } = database;
    await publishDaily(deps, "together", { limits: { maxActiveRuns: 1 } });
    const w = await worker(deps, "w");
    await keepsLease(deps, w);
    const ids = [
      await backfill(deps, january("together", { end: "2024-01-02" })),
      await backfill(deps, january("together", { start: "2024-02-01", end: "2024-02-02", order: "desc" })),
    ];
    await start(deps, "together");
    for (;;) {
      let most = 0;
      const watch = async (): Promise<void> => {
        most = Math.max(most, await runningOf("together"));
      };
      await Promise.all([
        ...ids.map((id) => retried(() => advance(pool, id))),
        retried(() => activateRuns(pool, "together")),
        ...Array.from({ length: 5 }, watch),
      ]);
      await watch();
      expect(most).toBe(1);
      await nothingBroken(deps);
      await deps.requestAdmission();
      await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
      const { rowCount } = await pool.query("select from sluice.dag_run where ended_at is null");
      if (rowCount === 0) break;
    }
  }, 60_000);
});

test("a rollback to a version with a higher limit starts the runs that it has room for", async () => {
  const { deps } = database;
  await publishLimited("grown", 3);
  await publishLimited("grown", 1);
  await start(deps, "grown");
  await start(deps, "grown");
  await start(deps, "grown");
  expect(await runningOf("grown")).toBe(1);
  await rollbackVersion(deps, { dagId: "grown", toNumber: 1, actor: "anna" });
  expect(await runningOf("grown")).toBe(3);
});

test("a run that is resumed starts at once when its DAG has room", async () => {
  const { deps } = database;
  await publishLimited("resumed", 1);
  const first = await start(deps, "resumed");
  const second = await start(deps, "resumed");
  await pauseRun(deps, second, "anna");
  await cancelRun(deps, first, anna);
  expect(await runningOf("resumed")).toBe(0);
  await resumeRun(deps, second);
  expect(await runningOf("resumed")).toBe(1);
});
