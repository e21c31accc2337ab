import { beforeEach, expect, test } from "vitest";
import { cancelBackfill } from "#lib/engine/backfill/cancel.ts";
import { backfill, forgetBackfills, january, publishDaily } from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns } from "#lib/testing/engine.ts";
import { checkInvariants } from "./invariants.ts";
import { inTx } from "./tx.ts";

/** Each promise about backfills: what breaks it is found. */

const database = testDatabase();

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
  await publishDaily(database.deps, "kept");
});

async function broken(): Promise<string[]> {
  const findings = await inTx(database.pool, checkInvariants);
  return findings.filter((finding) => finding.broken.length > 0).map(({ id }) => id);
}

const BREAKS: Record<string, { when: "going" | "cancelled"; sql: string }> = {
  "backfill-limits": { when: "going", sql: "update sluice.backfill set max_active = 1" },
  "backfill-cancels": { when: "going", sql: "update sluice.backfill set state = 'cancelling'" },
  "backfill-dates": {
    when: "going",
    sql: "delete from sluice.dag_run where id = (select max(id) from sluice.dag_run where state = 'queued')",
  },
  "backfill-outcomes": {
    when: "cancelled",
    sql: `with undone as (delete from sluice.backfill_event where to_state <> 'running')
          update sluice.backfill set state = 'success'`,
  },
  "backfill-ends": {
    when: "going",
    sql: `with ended as (update sluice.backfill set state = 'cancelled', ended_at = sluice.clock() returning id)
          insert into sluice.backfill_event (backfill_id, from_state, to_state, actor)
          select id, 'cancelling', 'cancelled', 'limits' from ended`,
  },
};

test.each(Object.entries(BREAKS))("what breaks %s is found", async (id, { when, sql }) => {
  const { deps, pool } = database;
  const made = await backfill(deps, january("kept", { end: "2024-01-05", maxActive: 2 }));
  if (when === "cancelled") await cancelBackfill(deps, made, "anna");
  expect(await broken()).toEqual([]);
  await pool.query(sql);
  expect(await broken()).toEqual([id]);
});
