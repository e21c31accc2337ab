import { expect, test } from "vitest";
import { effects, isEmpty, mergeEffects, NO_EFFECTS } from "./effects.ts";

test("effects of several transitions are one set of each kind", () => {
  const merged = mergeEffects([
    effects({ changedRuns: ["1", "2"], dagsWithRoom: ["a"], wantsAdmission: true }),
    effects({ changedRuns: ["2", "3"], dagsWithRoom: ["a", "b"], unsettledRuns: ["2"], backfills: ["7"] }),
    effects({ hasCallbacks: true }),
  ]);
  expect(merged).toEqual({
    changedRuns: ["1", "2", "3"],
    lanes: [],
    unsettledRuns: ["2"],
    dagsWithRoom: ["a", "b"],
    backfills: ["7"],
    wantsAdmission: true,
    hasCallbacks: true,
    hasFenced: false,
  });
});

test("effects are empty only when nothing is to be carried out", () => {
  expect(isEmpty(mergeEffects([]))).toBe(true);
  for (const kind of Object.keys(NO_EFFECTS) as (keyof typeof NO_EFFECTS)[]) {
    const some = typeof NO_EFFECTS[kind] === "boolean" ? true : ["1"];
    expect(isEmpty(effects({ [kind]: some }))).toBe(false);
  }
});
