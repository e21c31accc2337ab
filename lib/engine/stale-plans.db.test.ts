import { testStatementsAtSize } from "#lib/testing/statements-at-size.ts";

// Large enough that a join row by row of two of its sets is seen.
testStatementsAtSize({ tasks: 3_000, slots: 800, dags: 200, endedRuns: 1_000, statistics: "of a quiet moment" });
