import { describe } from "vitest";
import { testStatementsAtSize } from "#lib/testing/statements-at-size.ts";

// Large enough that a join row by row of two of its sets is seen. With one row a planner chooses otherwise than with none.
describe.each([0, 1, 5])("with statistics of %d rows", (statistics) => {
  testStatementsAtSize({ tasks: 3_000, slots: 800, dags: 200, endedRuns: 1_000, statistics });
});
