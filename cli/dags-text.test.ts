import { describe, expect, test } from "vitest";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { seenFrom } from "./convert-dag.ts";
import { listLines } from "./dags-list.ts";
import { endLine, summary } from "./dags-test-report.ts";
import { prefixedLines } from "./prefixed-lines.ts";
import { shorten, span, table } from "./print.ts";
import { problemText } from "./problem-text.ts";
import { warningsOf } from "./validate-files.ts";

const bash = (id: string, dependsOn: string[] = []): unknown => ({
  id,
  dependsOn,
  type: "bash",
  config: { command: "true" },
});

test("a problem is told with its line and a mark below its column", () => {
  const problem = { file: "a.yaml", line: 2, column: 3, message: "unknown key\nmore about it" };
  expect(problemText("dags/a.yaml", problem, "id: a\n\t\tx: 1\n")).toBe(
    "dags/a.yaml:2:3: error: unknown key\n    more about it\n    2 |   x: 1\n      |   ^",
  );
});

test("a problem without a place of its own shows no line", () => {
  const problem = { file: "a.ts", line: 1, column: 1, message: "it threw" };
  expect(problemText("a.ts", problem, "import x\n")).toBe("a.ts:1:1: error: it threw");
});

test("tasks without connections are warned of, but not the only task of a DAG", () => {
  const spec = (...tasks: unknown[]): DagSpec => DagSpec.parse({ id: "d", tasks });
  expect(warningsOf(spec(bash("a")))).toEqual([]);
  expect(warningsOf(spec(bash("a"), bash("b", ["a"])))).toEqual([]);
  expect(warningsOf(spec(bash("a"), bash("b", ["a"]), bash("c")))).toEqual([expect.stringContaining(`"c"`)]);
});

test("modules are named as seen from another folder", () => {
  const spec = DagSpec.parse({
    id: "d",
    tasks: [{ id: "a", type: "fn", config: { module: "sub/code.ts", export: "x" } }, bash("b")],
  });
  const moduleFrom = (folder: string): unknown => seenFrom(spec, "/dags", folder).tasks[0]!.config;
  const program = DagSpec.parse({ id: "d", tasks: [{ id: "a", type: "python", config: { file: "sub/load.py" } }] });
  expect(seenFrom(program, "/dags", "/dags/other").tasks[0]!.config).toMatchObject({ file: "../sub/load.py" });
  expect(moduleFrom("/dags")).toMatchObject({ module: "sub/code.ts" });
  expect(moduleFrom("/dags/sub")).toMatchObject({ module: "code.ts" });
  expect(moduleFrom("/dags/other")).toMatchObject({ module: "../sub/code.ts" });
});

describe("tables and words", () => {
  test("columns are aligned and the last one is free", () => {
    expect(
      table(
        ["id", "file"],
        [
          ["a", "x"],
          ["longer", "yy"],
        ],
      ),
    ).toEqual(["ID      FILE", "a       x", "longer  yy"]);
  });

  test("DAGs are listed with what matters", () => {
    expect(listLines([])).toEqual(["No DAGs"]);
    const [, row] = listLines([{ id: "a", version: 3, state: "broken", tags: ["x", "y"], file: "a.yaml" }]);
    expect(row).toBe("a   3        broken  x,y   a.yaml");
  });

  test.for([
    [12.4, "12 ms"],
    [1_449, "1.4 s"],
    [125_000, "2m05s"],
  ] as const)("%d ms are %s", ([ms, text]) => {
    expect(span(ms)).toBe(text);
  });

  test("a long text is cut on one line", () => {
    expect(shorten(" a\n b ", 10)).toBe("a b");
    expect(shorten("abcdef", 4)).toBe("abc…");
  });
});

test("output comes as whole lines of one task, also when a character is cut in two", () => {
  const written: string[] = [];
  const lines = prefixedLines(4, (text) => written.push(text));
  const euro = Buffer.from("5 €\n");
  lines.add("a", "stdout", euro.subarray(0, 3));
  lines.add("long", "stdout", Buffer.from("other\r\n"));
  lines.add("a", "stdout", euro.subarray(3));
  lines.add("a", "stderr", Buffer.from("no end"));
  lines.end("a");
  expect(written).toEqual(["long │ other\n", "a    │ 5 €\n", "a    │ no end\n"]);
});

describe("the report of a local run", () => {
  test("a task's end in one line", () => {
    const ran = { id: "a", by: "run", attempts: 1, durationMs: 20 } as const;
    expect(endLine({ ...ran, state: "success", output: { n: 1 } })).toBe(`✓ a, 20 ms: {"n":1}`);
    expect(endLine({ ...ran, state: "failed", attempts: 2, reason: "EXIT", error: "exit code 1" })).toBe(
      "✗ a failed, 20 ms, 2 attempts: EXIT exit code 1",
    );
    expect(endLine({ id: "a", by: "rule", attempts: 0, durationMs: 0, state: "skipped" })).toBe(
      "○ a skipped (by its trigger rule)",
    );
  });

  test("the verdict is the last line", () => {
    const run = { dagId: "d", state: "failed", durationMs: 1_500, params: {}, tasks: [] } as const;
    expect(summary({ ...run, tasks: [] }).at(-1)).toBe("✗ d: failed in 1.5 s");
  });
});
