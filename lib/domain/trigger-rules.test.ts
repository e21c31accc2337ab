import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TRIGGER_RULES, type TriggerRule } from "./model/task.ts";
import type { TaskState } from "./states.ts";
import { countParents, decide, isDecidedBySuccesses, type RuleVerdict } from "./trigger-rules.ts";

/** Two parents: S success, F failed, U upstream_failed, K skipped, - not ended. */
const PAIRS = "SS SF SU SK S- FF FU FK F- UU UK U- KK K- --".split(" ");

/** What Airflow's scheduler decides for each pair: + starts, k skipped, u upstream_failed, . waits. */
const AIRFLOW: Record<TriggerRule, string> = {
  //                           SS SF SU SK S- FF FU FK F- UU UK U- KK K- --
  all_success: "                +  u  u  k  .  u  u  u  u  u  u  u  k  k  .",
  all_failed: "                 k  k  k  k  k  +  +  k  .  +  k  .  k  k  .",
  all_done: "                   +  +  +  +  .  +  +  +  .  +  +  .  +  .  .",
  all_skipped: "                k  k  k  k  k  k  k  k  k  k  k  k  +  .  .",
  one_success: "                +  +  +  +  +  u  u  u  .  u  u  .  k  .  .",
  one_failed: "                 k  +  +  k  .  +  +  +  +  +  +  +  k  .  .",
  one_done: "                   +  +  +  +  +  +  +  +  +  k  k  .  k  .  .",
  none_failed: "                +  u  u  +  .  u  u  u  u  u  u  u  +  .  .",
  none_skipped: "               +  +  +  k  .  +  +  k  .  +  k  .  k  k  .",
  none_failed_min_one_success: "+  u  u  +  .  u  u  u  u  u  u  u  k  .  .",
  all_done_min_one_success: "   +  +  +  k  .  u  u  k  .  u  k  .  k  k  .",
  always: "                     +  +  +  +  +  +  +  +  +  +  +  +  +  +  +",
};

const VERDICT_OF: Record<string, RuleVerdict> = { "+": "ready", k: "skipped", u: "upstream_failed", ".": "waiting" };
const STATE_OF: Record<string, TaskState> = {
  S: "success",
  F: "failed",
  U: "upstream_failed",
  K: "skipped",
  "-": "running",
};

const cases = TRIGGER_RULES.flatMap((rule) => {
  const verdicts = AIRFLOW[rule].trim().split(/ +/);
  return PAIRS.map((parents, at) => ({ rule, parents, verdict: VERDICT_OF[verdicts[at]!]! }));
});

const anyEnd = fc.constantFrom<TaskState>("success", "failed", "skipped", "upstream_failed");
const ends = fc.array(anyEnd, { minLength: 1, maxLength: 6 });
const anyRule = fc.constantFrom(...TRIGGER_RULES);

describe("trigger rules", () => {
  test.each(cases)("$rule with $parents: $verdict", ({ rule, parents, verdict }) => {
    const states = Array.from(parents, (letter) => STATE_OF[letter]!);
    expect(decide(rule, countParents(states))).toBe(verdict);
    expect(decide(rule, countParents(states.toReversed()))).toBe(verdict);
  });

  test("a cancelled parent counts as failed", () => {
    for (const rule of TRIGGER_RULES) {
      expect(decide(rule, countParents(["cancelled"]))).toBe(decide(rule, countParents(["failed"])));
    }
  });

  test("a task without parents is ready under every rule", () => {
    for (const rule of TRIGGER_RULES) expect(decide(rule, countParents([]))).toBe("ready");
  });

  test("a parent that waits for its next attempt has not ended", () => {
    for (const state of ["waiting", "ready", "queued", "running", "retrying", "deferred"] as const) {
      expect(decide("all_done", countParents(["failed", state]))).toBe("waiting");
      expect(decide("all_done_min_one_success", countParents(["skipped", state]))).toBe("skipped");
    }
  });

  test("no rule leaves a task waiting when every parent has ended", () => {
    fc.assert(
      fc.property(anyRule, ends, (rule, states) => {
        expect(decide(rule, countParents(states))).not.toBe("waiting");
      }),
    );
  });

  test("a start and a failure that were decided early stay right when the other parents end", () => {
    fc.assert(
      fc.property(anyRule, ends, fc.nat(5), (rule, states, open) => {
        const early = decide(rule, countParents(states.map((state, at) => (at < open ? "running" : state))));
        // A skip may turn out to be a failure when the other parents end; neither of these two is ever taken back.
        if (early === "ready" || early === "upstream_failed") expect(decide(rule, countParents(states))).toBe(early);
      }),
    );
  });
});

describe("rules that counting successes decides", () => {
  const counted = TRIGGER_RULES.filter(isDecidedBySuccesses);

  test("are these six", () => {
    expect(counted).toEqual([
      "all_success",
      "all_done",
      "none_failed",
      "none_skipped",
      "none_failed_min_one_success",
      "all_done_min_one_success",
    ]);
  });

  test("start a task with the success of its last parent and not before", () => {
    fc.assert(
      fc.property(fc.constantFrom(...counted), fc.integer({ min: 1, max: 9 }), (rule, total) => {
        const after = (success: number) => decide(rule, { total, success, failed: 0, upstreamFailed: 0, skipped: 0 });
        for (let success = 0; success < total; success++) expect(after(success)).toBe("waiting");
        expect(after(total)).toBe("ready");
      }),
    );
  });
});
