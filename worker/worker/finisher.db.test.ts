import { randomUUID } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { handBack } from "#lib/engine/sweep.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, publish, start, success, worker } from "#lib/testing/engine.ts";
import { createFinisher } from "./finisher.ts";

const database = testDatabase();

beforeEach(() =>
  database.pool.query(
    "truncate sluice.dag_run, sluice.run_progress, sluice.task_instance, sluice.live_attempt, sluice.worker, sluice.event, sluice.attempt, sluice_boss.job",
  ),
);

test("of two attempts of one task that end at the same moment, the live one is accepted and goes on", async () => {
  const { deps } = database;
  await publish(deps, "both", { a: [], b: ["a"] });
  const w = await worker(deps, "w");
  await start(deps, "both");
  const [taken] = await claimAll(deps, w);
  await handBack(deps, w);
  const [live] = await claimAll(deps, w);
  const finisher = createFinisher(deps, "worker:w", []);
  const onward = (): { attemptId: string; token: string } => ({ attemptId: randomUUID(), token: randomUUID() });
  const [late, timely] = await Promise.all([
    finisher.submit({ ...success(taken!), next: onward() }, true),
    finisher.submit({ ...success(live!), next: onward() }, true),
  ]);
  expect(late).toEqual({ accepted: false, next: undefined });
  expect(timely).toMatchObject({ accepted: true, next: { taskId: "b" } });
});
