import { beforeEach, describe, expect, test } from "vitest";
import { insertAction, type NewAction } from "#lib/db/run-actions.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { backfill, january, nothingBroken, publishDaily, runsOf, shown } from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, forgetRuns, runState, start, states, success, worker } from "#lib/testing/engine.ts";
import { carryOutSlice } from "./carry-out-actions.ts";
import { finish } from "./finish.ts";
import { followUp } from "./follow-up.ts";

/** An end is an end once: an action of several slices that leaves a run's end as it is does not end the run again. */

const database = testDatabase();
const bash = (id: string, dependsOn: string[] = []): object => ({
  id,
  type: "bash",
  config: { command: "true" },
  dependsOn,
});
/** `x` and `b` to `d` are what nothing depends on. */
const TASKS = [bash("a"), bash("x"), ...["b", "c", "d"].map((id) => bash(id, ["a"]))];
const CALLS = {
  callbacks: Object.fromEntries(
    ["onSuccess", "onFailure"].map((when) => [when, [{ http: { url: "http://localhost:1/" } }]]),
  ),
};

beforeEach(() => forgetRuns(database.deps));

type End = {
  state: string;
  endedAt: Date | null;
  /** Calls of the run's ends, and the run's own events. */
  calls: number;
  events: string[];
};

async function endOf(runId: string): Promise<End> {
  const { rows } = await database.pool.query<End>(
    `select r.state, r.ended_at as "endedAt",
            (select count(*)::int from sluice_boss.job j where j.data::text like '%"' || r.id || '"%') as calls,
            array(select e.from_state || ' > ' || e.to_state from sluice.event e
                   where e.run_id = r.id and e.task_instance_id is null and e.from_state is not null order by e.id) as events
       from sluice.dag_run r where r.id = $1`,
    [runId],
  );
  return rows[0]!;
}

/** A run in which `a` has failed and `x` has ended as given. */
async function endedRun(x: typeof success | typeof failed): Promise<string> {
  const { deps, pool } = database;
  const spec = DagSpec.parse({ id: "called", tasks: TASKS, ...CALLS });
  await inTx(pool, (tx) => publishVersion(tx, spec, { file: "called.yaml", source: "", author: "test" }));
  const w = await worker(deps, "w");
  const runId = await start(deps, "called");
  const [a, other] = await claimAll(deps, w);
  await finish(deps, [failed(a!), x(other!)], "worker:w");
  expect(await endOf(runId)).toMatchObject({
    state: "failed",
    calls: 1,
    events: ["queued > running", "running > failed"],
  });
  return runId;
}

/** Carries out the action in slices of so many tasks; returns the run's state after each. */
async function carryOut(runId: string, action: Pick<NewAction, "kind" | "args">, most: number): Promise<string[]> {
  const { deps, pool } = database;
  await insertAction(pool, runId, { ...action, actor: "anna", reason: null } as NewAction);
  const seen: string[] = [];
  for (let outcome = "open"; outcome === "open";) {
    const carried = await carryOutSlice(deps, runId, { most });
    await followUp(deps, carried.effects);
    await nothingBroken(deps);
    outcome = carried.outcome;
    seen.push(await runState(deps, runId));
  }
  return seen;
}

describe.each([5_000, 2, 1])("in slices of %i tasks", (most) => {
  test("a mark that leaves the run's end as it is does not end it again", async () => {
    const runId = await endedRun(failed);
    const before = await endOf(runId);
    const seen = await carryOut(runId, { kind: "mark", args: { slot: 0, to: "skipped" } }, most);
    expect(seen).toEqual(seen.map(() => "failed"));
    expect(await states(database.deps, runId)).toEqual(["skipped", "failed", "skipped", "skipped", "skipped"]);
    expect(await endOf(runId)).toEqual(before);
  });

  test("a mark that changes the run's end ends it once more, with one call", async () => {
    const runId = await endedRun(success);
    const seen = await carryOut(runId, { kind: "mark", args: { slot: 0, to: "skipped" } }, most);
    expect(seen).toEqual([...seen.slice(1).map(() => "failed"), "success"]);
    const { calls, events } = await endOf(runId);
    expect({ calls, events: events.slice(2) }).toEqual({ calls: 2, events: ["failed > success"] });
  });

  test("a clear of what its rule decides at once does not end the run again", async () => {
    const runId = await endedRun(success);
    const before = await endOf(runId);
    await carryOut(runId, { kind: "clear", args: { slots: [2, 3, 4] } }, most);
    expect(await endOf(runId)).toEqual(before);
    expect((await states(database.deps, runId)).slice(2)).toEqual(Array.from({ length: 3 }, () => "upstream_failed"));
  });

  test("a clear lets the run go on once, at its last slice", async () => {
    const runId = await endedRun(success);
    await carryOut(runId, { kind: "clear", args: { slots: [0] } }, most);
    const { calls, events } = await endOf(runId);
    expect({ calls, events: events.slice(2) }).toEqual({ calls: 1, events: ["failed > queued", "queued > running"] });
  });

  test("a mark in a backfill that has ended does not reopen it", async () => {
    const { deps } = database;
    await publishDaily(deps, "daily", { tasks: TASKS, ...CALLS });
    const w = await worker(deps, "w");
    const id = await backfill(deps, january("daily", { end: "2024-01-01" }));
    await finish(deps, (await claimAll(deps, w)).map(failed), "worker:w");
    const [run] = await runsOf(deps, id);
    const [before, ended] = [await shown(deps, id), await endOf(run!.id)];
    expect(before.state).toBe("failed");
    await carryOut(run!.id, { kind: "mark", args: { slot: 0, to: "skipped" } }, most);
    expect([await shown(deps, id), await endOf(run!.id)]).toEqual([before, ended]);
  });
});

describe("a cancel of a run that had ended", () => {
  test.for([1, 2])("ends what %i slices of a clear have opened", async (slices) => {
    const { deps, pool } = database;
    const runId = await endedRun(success);
    await insertAction(pool, runId, { kind: "clear", args: {}, actor: "anna", reason: null });
    for (let nth = 0; nth < slices; nth++) expect((await carryOutSlice(deps, runId, { most: 1 })).outcome).toBe("open");
    expect(await runState(deps, runId)).toBe("failed");
    await carryOut(runId, { kind: "cancel", args: {} }, 1);
    const { state, events } = await endOf(runId);
    expect([state, ...events.slice(2)]).toEqual(["cancelled", "failed > cancelled"]);
    expect((await states(deps, runId)).slice(0, slices)).toEqual(Array.from({ length: slices }, () => "cancelled"));
  });

  test("ends the run as cancelled when a slice of a mark has opened no task", async () => {
    const { deps, pool } = database;
    const runId = await endedRun(success);
    await insertAction(pool, runId, { kind: "mark", args: { slot: 0, to: "skipped" }, actor: "anna", reason: null });
    await carryOutSlice(deps, runId, { most: 1 });
    await carryOut(runId, { kind: "cancel", args: {} }, 1);
    expect(await runState(deps, runId)).toBe("cancelled");
  });

  test("leaves the end as it is when nothing of the other action was written", async () => {
    const { pool } = database;
    const runId = await endedRun(success);
    const before = await endOf(runId);
    await insertAction(pool, runId, { kind: "clear", args: {}, actor: "anna", reason: null });
    await carryOut(runId, { kind: "cancel", args: {} }, 1);
    expect(await endOf(runId)).toEqual(before);
  });
});
