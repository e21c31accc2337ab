import { expect, test } from "vitest";
import { TRIGGER_RULES } from "#lib/domain/model/task.ts";
import { decide, type ParentCounts } from "#lib/domain/trigger-rules.ts";
import { testDatabase } from "#lib/testing/database.ts";

const database = testDatabase();

const upTo = (most: number): number[] => Array.from({ length: most + 1 }, (_, n) => n);

/** Every way in which up to so many parents can have ended so far. */
function everyCount(most: number): ParentCounts[] {
  return upTo(most).flatMap((total) =>
    upTo(total).flatMap((success) =>
      upTo(total - success).flatMap((failed) =>
        upTo(total - success - failed).flatMap((upstreamFailed) =>
          upTo(total - success - failed - upstreamFailed).map((skipped) => ({
            total,
            success,
            failed,
            upstreamFailed,
            skipped,
          })),
        ),
      ),
    ),
  );
}

test("the database decides every rule as the pure rules do, for all counts of up to four parents", async () => {
  const cases = TRIGGER_RULES.flatMap((rule) => everyCount(4).map((counts) => ({ rule, ...counts })));
  const { rows } = await database.pool.query<{ verdict: string }>(
    `select sluice.rule_verdict(rule, total, success, failed, "upstreamFailed", skipped) as verdict
       from jsonb_to_recordset($1) c(place int, rule text, total int, success int, failed int, "upstreamFailed" int, skipped int)
      order by place`,
    [JSON.stringify(cases.map((each, place) => ({ place, ...each })))],
  );
  const differing = cases.flatMap((each, at) => {
    const expected = decide(each.rule, each);
    const { verdict } = rows[at]!;
    return verdict === expected ? [] : [{ ...each, expected, verdict }];
  });
  expect(differing).toEqual([]);
});
