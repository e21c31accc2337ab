import { expect, test } from "vitest";
import { readSettings } from "#lib/env.ts";
import { settingsFromOptions } from "./worker-options.ts";

function base() {
  const read = readSettings({ DATABASE_URL: "postgres://h/db", SLUICE_QUEUES: "a", SLUICE_PROCESS_SLOTS: "3" });
  if (!read.ok) throw new Error(read.problems.join());
  return { ...read.settings, databaseUrl: "postgres://h/db" };
}

test("options win over the environment", () => {
  expect(settingsFromOptions(base(), { queue: ["x", "y"], label: ["a100"], name: "w" })).toMatchObject({
    ok: true,
    settings: { queues: ["x", "y"], labels: ["a100"], workerName: "w", processSlots: 3 },
  });
});

test("a bad option is named as it was typed", () => {
  expect(settingsFromOptions(base(), { concurrency: "many" })).toEqual({
    ok: false,
    problems: ['--concurrency "many" cannot be used; allowed: a whole number from 1 to 1000'],
  });
});
