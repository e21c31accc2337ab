import { describe, expect, test } from "vitest";
import { TaskSpec } from "#lib/domain/model/task.ts";
import { needsResolving, resolveTask } from "./resolve-task.ts";

const VALUES = {
  params: { n: 3, host: "example.org" },
  outputs: { extract: { rows: [1, 2] } },
  run: { id: "7", dagId: "d", logicalDate: "2026-01-01T00:00:00.000Z", triggerKind: "manual" },
  task: { id: "t", attempt: 1 },
};
const task = (given: object): TaskSpec => TaskSpec.parse({ id: "t", dependsOn: ["extract"], ...given });

describe("a task's expressions", () => {
  test("are replaced in config and env; env becomes text, config keeps its types", () => {
    const http = task({
      type: "http",
      config: { url: "https://${{ params.host }}/x", method: "POST", json: { rows: "${{ outputs.extract.rows }}" } },
      env: { N: "${{ params.n }}", ROWS: "${{ outputs.extract.rows }}", PLAIN: "a" },
    });
    expect(resolveTask(http, VALUES)).toMatchObject({
      kind: "run",
      task: {
        config: { url: "https://example.org/x", json: { rows: [1, 2] } },
        env: { N: "3", ROWS: "[1,2]", PLAIN: "a" },
      },
    });
  });

  test("decide whether it runs at all", () => {
    const bash = (condition: string): TaskSpec => task({ type: "bash", config: { command: "true" }, condition });
    expect(resolveTask(bash("${{ params.n > 2 }}"), VALUES).kind).toBe("run");
    expect(resolveTask(bash("${{ params.n > 3 }}"), VALUES).kind).toBe("skip");
    expect(resolveTask(bash("${{ params.n }}"), VALUES)).toMatchObject({ kind: "failed" });
    expect(resolveTask(bash("${{ outputs.extract.nope }}"), VALUES)).toMatchObject({
      kind: "failed",
      error: expect.stringContaining("No such key: nope"),
    });
  });

  test("cannot make a config that the model refuses", () => {
    const http = task({ type: "http", config: { url: "${{ outputs.extract }}" } });
    expect(resolveTask(http, VALUES)).toMatchObject({ kind: "failed", error: expect.stringContaining("config.url") });
    const python = task({ type: "python", config: { code: "pass", args: ["${{ params.n }}", "${{ params.n > 1 }}"] } });
    expect(resolveTask(python, VALUES)).toMatchObject({ kind: "run", task: { config: { args: ["3", "true"] } } });
    expect(() => task({ type: "bash", config: { command: "echo ${{ params.n }}" } })).toThrow(/put it into env/);
  });

  test("are looked for before the parents' outputs are read", () => {
    expect(needsResolving(task({ type: "bash", config: { command: "echo $X" }, env: { X: "1" } }))).toBe(false);
    expect(needsResolving(task({ type: "bash", config: { command: "echo $X" }, env: { X: "${{ params.n }}" } }))).toBe(
      true,
    );
  });
});
