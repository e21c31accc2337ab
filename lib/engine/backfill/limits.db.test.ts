import { expect, test } from "vitest";
import { advance } from "#lib/db/backfill/advance.ts";
import { activateRuns } from "#lib/db/runs.ts";
import { retried } from "#lib/db/tx.ts";
import { backfill, january, nothingBroken, publishDaily, shown } from "#lib/testing/backfills.ts";
import type { Finish } from "#lib/db/finishes.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimSome, failed, keepsLease, runState, start, success, worker } from "#lib/testing/engine.ts";
import { finish } from "../finish.ts";
import { pauseDag, unpauseDag } from "../pause.ts";
import { pauseBackfill, resumeBackfill } from "./pause.ts";
import { retryBackfill } from "./retry.ts";
import { tendBackfills } from "./tend.ts";

const database = testDatabase();

test("limits hold at every instant, whoever starts, ends, pauses and retries at the same time", async () => {
  const { deps, pool } = database;
  await publishDaily(deps, "busy", { limits: { maxActiveRuns: 2 } });
  const w = await worker(deps, "w");
  await keepsLease(deps, w);
  const ids = [
    await backfill(deps, january("busy", { maxActive: 3 })),
    await backfill(deps, january("busy", { start: "2024-02-01", end: "2024-02-20", maxActive: 2, order: "desc" })),
  ];
  const manual = await Promise.all(Array.from({ length: 8 }, () => start(deps, "busy")));

  const isOver = async (): Promise<boolean> => {
    const { rowCount } = await pool.query("select from sluice.dag_run where ended_at is null");
    return rowCount === 0;
  };
  let claims = 0;
  let looks = 0;
  const worst = { backfills: [0, 0], dag: 0 };
  const look = async (): Promise<void> => {
    await nothingBroken(deps);
    const { rows } = await pool.query<{ id: string | null; n: number }>(
      "select backfill_id as id, count(*)::int as n from sluice.dag_run where state = 'running' group by 1",
    );
    for (const { id, n } of rows) {
      const at = ids.indexOf(id ?? "");
      if (at < 0) worst.dag = Math.max(worst.dag, n);
      else worst.backfills[at] = Math.max(worst.backfills[at]!, n);
    }
    looks += 1;
  };
  const actors: (() => Promise<unknown>)[] = [
    async () => {
      const claimed = await claimSome(deps, w, 3);
      // Some fail, so that there is something to retry; ends of a locked run come again, as a worker sends them.
      let ends: Finish[] = claimed.map((one) => (++claims % 7 === 0 ? failed(one) : success(one)));
      while (ends.length > 0) {
        const accepted = await finish(deps, ends, "worker:w");
        ends = ends.filter(({ taskInstanceId }) => !accepted.includes(taskInstanceId));
      }
    },
    // Several processes, which do not share passes.
    () => retried(() => advance(pool, ids[0]!)),
    () => retried(() => advance(pool, ids[0]!)),
    () => retried(() => advance(pool, ids[1]!)),
    () => retried(() => activateRuns(pool, "busy")),
    () => tendBackfills(deps),
    async () => {
      await pauseBackfill(deps, ids[1]!, "anna");
      await resumeBackfill(deps, ids[1]!, "anna");
    },
    async () => {
      await pauseDag(deps, "busy", "anna");
      await unpauseDag(deps, "busy");
    },
    look,
  ];
  const loop = async (act: () => Promise<unknown>): Promise<void> => {
    while (!(await isOver())) await act();
  };
  // Before anything has ended, so that there is one look at which all of it goes on.
  await look();
  await Promise.all(actors.map(loop));
  for (let tries = 0; tries < 5; tries++) {
    for (const id of ids) await retryBackfill(deps, id, "anna");
    await Promise.all(actors.map(loop));
  }
  await tendBackfills(deps);

  await nothingBroken(deps);
  expect(looks).toBeGreaterThan(5);
  expect(worst).toEqual({ backfills: [3, 2], dag: 2 });
  for (const id of ids) {
    const { state, counts, slices } = await shown(deps, id);
    expect([state, counts.success]).toEqual(["success", slices]);
  }
  for (const id of manual) expect(["success", "failed"]).toContain(await runState(deps, id));
});
