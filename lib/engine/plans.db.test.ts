import { testStatementsAtSize } from "#lib/testing/statements-at-size.ts";

// An installation that is months old, with runs of 20,000 tasks.
testStatementsAtSize({ tasks: 20_000, slots: 4_000, dags: 2_000, endedRuns: 200_000, statistics: "as found" });
