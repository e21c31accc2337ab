import { defineConfig } from "vitest/config";

const everywhere = ["{app,components,lib,worker,cli,bench}/**", "dags/**"];
const named = (ending: string) => everywhere.map((folder) => `${folder}/*${ending}`);
const never = ["**/node_modules/**", ".next/**", ".sluice/**", "e2e/**"];

/**
 * No retries anywhere: a flaky test is a bug with an owner. The time limits end what hangs, and are far above what a test
 * takes on a slow machine.
 */
export default defineConfig({
  test: {
    // What a test polls for comes to pass; the usual second is less than a busy machine needs.
    expect: { poll: { timeout: 30_000 } },
    pool: "forks",
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: named(".test.{ts,tsx}"),
          exclude: [...never, "**/*.{db,proc}.test.ts"],
          testTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: "db",
          include: named(".db.test.ts"),
          exclude: never,
          globalSetup: ["lib/testing/postgres.global.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: "proc",
          include: named(".proc.test.ts"),
          exclude: never,
          globalSetup: ["lib/testing/postgres.global.ts"],
          // Files wait most of the time, for processes that start and leases that end. What they start has folders, users
          // and databases of its own.
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
