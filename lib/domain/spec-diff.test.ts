import { describe, expect, test } from "vitest";
import { DagSpec } from "./model/dag.ts";
import { diffSpecs, formatDiff } from "./spec-diff.ts";

const bash = (id: string, rest: object = {}): object => ({ id, type: "bash", config: { command: "true" }, ...rest });
const spec = (tasks: object[], dag: object = {}): DagSpec => DagSpec.parse({ id: "d", ...dag, tasks });

describe("the difference of two specs", () => {
  test("is told by task and field, with defaults where nothing was written", () => {
    const before = spec([bash("a"), bash("b", { dependsOn: ["a"], retries: 1 }), bash("old")], { tags: ["x", "y"] });
    const after = spec([bash("a"), bash("b", { dependsOn: ["a"], retries: 3, timeout: "5m" }), bash("new")], {
      tags: ["y", "x"],
      owner: "anna",
    });
    expect(formatDiff(diffSpecs(before, after))).toBe(
      [
        "~ the DAG",
        '    owner: (default) → "anna"',
        "- task old",
        "~ task b",
        "    retries.max: 1 → 3",
        '    timeout: (default) → "5m"',
        "+ task new",
      ].join("\n"),
    );
  });

  test("is nothing for the same, and for what is only written in another order", () => {
    const one = spec([bash("a"), bash("b"), bash("c", { dependsOn: ["a", "b"] })]);
    const other = spec([bash("b"), bash("a"), bash("c", { dependsOn: ["b", "a"] })]);
    expect(diffSpecs(one, one)).toEqual([]);
    expect(diffSpecs(one, other)).toEqual([]);
  });

  test("tells a changed type and changed code", () => {
    const before = spec([{ id: "a", type: "fn", config: { module: "a.ts", export: "go" } }], {
      bundle: "a".repeat(64),
    });
    const after = spec([bash("a")], { bundle: "b".repeat(64) });
    expect(diffSpecs(before, after)).toMatchObject([
      { kind: "dag", fields: [{ path: "bundle" }] },
      { kind: "changed", task: "a", fields: expect.arrayContaining([{ path: "type", before: "fn", after: "bash" }]) },
    ]);
  });
});
