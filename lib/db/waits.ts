import type { Db } from "./pool.ts";

/** Spans deleted in one statement. */
const SPANS_AT_ONCE = 10_000;

/** Deletes spans of waiting that are older than runs are kept by default; returns how many. */
export async function deleteOldWaitSpans(db: Db): Promise<number> {
  let deleted = 0;
  for (let some = SPANS_AT_ONCE; some === SPANS_AT_ONCE; deleted += some) {
    const { rowCount } = await db.query({
      name: "delete-old-wait-spans",
      text: `
        delete from sluice.wait_span where (workload_id, from_at) in (
          select workload_id, from_at from sluice.wait_span
           where to_at < sluice.clock() - (select keep_days from sluice.retention) * interval '1 day'
           order by to_at limit $1)`,
      values: [SPANS_AT_ONCE],
    });
    some = rowCount ?? 0;
  }
  return deleted;
}
