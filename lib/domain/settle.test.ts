import { describe, expect, test } from "vitest";
import type { TriggerRule } from "./model/task.ts";
import { runVerdict, settle } from "./settle.ts";
import type { TaskState } from "./states.ts";

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
