import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TRIGGER_RULES, type TriggerRule } from "./model/task.ts";
import { runVerdict, settle } from "./settle.ts";
import type { TaskState } from "./states.ts";
import { countParents, decide, isDecidedBySuccesses, type RuleVerdict } from "./trigger-rules.ts";

/** What each rule says of two parents, in Airflow's words: S success, F failed, U upstream_failed, K skipped, - open. */
const TABLE: Record<TriggerRule, Record<string, RuleVerdict>> = {
  all_success: {
    SS: "ready",
    "S-": "waiting",
    "F-": "upstream_failed",
    "K-": "skipped",
    SK: "skipped",
    SU: "upstream_failed",
    FK: "upstream_failed",
  },
  all_failed: { FF: "ready", FU: "ready", "F-": "waiting", "S-": "skipped", FK: "skipped" },
  all_done: { SF: "ready", KU: "ready", KK: "ready", "F-": "waiting" },
  all_skipped: { KK: "ready", "K-": "waiting", "S-": "skipped", KF: "skipped" },
  one_success: { "S-": "ready", "F-": "waiting", FF: "upstream_failed", KK: "skipped", FK: "upstream_failed" },
  one_failed: { "F-": "ready", "U-": "ready", "S-": "waiting", SS: "skipped", SK: "skipped" },
  one_done: { "S-": "ready", "F-": "ready", "K-": "waiting", KK: "skipped", UU: "skipped" },
  none_failed: { SS: "ready", SK: "ready", KK: "ready", "F-": "upstream_failed", "K-": "waiting" },
  none_skipped: { SF: "ready", FU: "ready", "K-": "skipped", "S-": "waiting" },
  none_failed_min_one_success: { SK: "ready", KK: "skipped", "F-": "upstream_failed", "K-": "waiting", SS: "ready" },
  all_done_min_one_success: { SF: "ready", SK: "ready", FF: "upstream_failed", KK: "skipped", "S-": "waiting" },
  always: { "--": "ready", FF: "ready" },
};

const STATE_OF: Record<string, TaskState> = {
  S: "success",
  F: "failed",
  U: "upstream_failed",
  K: "skipped",
  "-": "running",
};

const cases = Object.entries(TABLE).flatMap(([rule, rows]) =>
  Object.entries(rows).map(([parents, verdict]) => ({ rule: rule as TriggerRule, parents, verdict })),
);

describe("trigger rules", () => {
  test.each(cases)("$rule with $parents: $verdict", ({ rule, parents, verdict }) => {
    expect(decide(rule, countParents(Array.from(parents, (letter) => STATE_OF[letter]!)))).toBe(verdict);
  });

  test("a cancelled parent counts as failed, and a task without parents is ready under every rule", () => {
    for (const rule of TRIGGER_RULES) {
      expect(decide(rule, countParents(["cancelled"]))).toBe(decide(rule, countParents(["failed"])));
      expect(decide(rule, countParents([]))).toBe("ready");
    }
  });

  const parentStates = fc.array(fc.constantFrom<TaskState>("success", "failed", "skipped", "upstream_failed"), {
    minLength: 1,
    maxLength: 6,
  });

  test("when every parent has ended no rule leaves a task waiting", () => {
    fc.assert(
      fc.property(fc.constantFrom(...TRIGGER_RULES), parentStates, (rule, states) => {
        expect(decide(rule, countParents(states))).not.toBe("waiting");
      }),
    );
  });

  test("what is decided by counting successes is ready exactly with the last of them", () => {
    for (const rule of TRIGGER_RULES.filter(isDecidedBySuccesses)) {
      expect(decide(rule, countParents(["success", "running"]))).toBe("waiting");
      expect(decide(rule, countParents(["success", "success"]))).toBe("ready");
    }
  });

  test("a verdict other than waiting stays when the open parents end", () => {
    fc.assert(
      fc.property(fc.constantFrom(...TRIGGER_RULES), parentStates, fc.nat(5), (rule, states, open) => {
        const partly = states.map((state, index): TaskState => (index < open ? "running" : state));
        const early = decide(rule, countParents(partly));
        const late = decide(rule, countParents(states));
        // A skip may turn out to be a failure when the other parents end; a start is never taken back.
        if (early === "ready" || early === "upstream_failed") expect(late).toBe(early);
      }),
    );
  });
});

describe("settling", () => {
  test("skips and failures travel through any depth in one pass", () => {
    const depth = 100_000;
    const graph = {
      parents: Array.from({ length: depth }, (_, ord) => (ord === 0 ? [] : [ord - 1])),
      rules: Array.from({ length: depth }, (): TriggerRule => "all_success"),
      order: Array.from({ length: depth }, (_, ord) => ord),
    };
    const start = (first: TaskState): TaskState[] => graph.order.map((ord) => (ord === 0 ? first : "waiting"));
    expect(new Set(settle(graph, start("failed")).slice(1))).toEqual(new Set(["upstream_failed"]));
    expect(new Set(settle(graph, start("skipped")).slice(1))).toEqual(new Set(["skipped"]));
  });

  test("a rule that accepts failure stops it", () => {
    const graph = {
      parents: [[], [0], [1], [2]],
      rules: ["all_success", "all_success", "all_done", "all_success"] as const,
      order: [0, 1, 2, 3],
    };
    expect(settle(graph, ["failed", "waiting", "waiting", "waiting"])).toEqual([
      "failed",
      "upstream_failed",
      "ready",
      "waiting",
    ]);
  });

  test("a run failed when a leaf did not end well, whatever happened before it", () => {
    expect(runVerdict([false, true], ["failed", "success"])).toBe("success");
    expect(runVerdict([false, true], ["success", "upstream_failed"])).toBe("failed");
    expect(runVerdict([false, true], ["success", "skipped"])).toBe("success");
  });
});
