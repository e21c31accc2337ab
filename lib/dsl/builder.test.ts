import { describe, expect, test } from "vitest";
import { parseDefinition } from "../domain/definition/parse.ts";
import { bash, dag, docker, fn, http, noop, notYet, python, sql } from "./index.ts";
import { isNotYet } from "./not-yet.ts";

describe("the builder", () => {
  const etl = dag("etl", {
    schedule: "@daily",
    timezone: "Europe/Berlin",
    params: { limit: { type: "integer", default: 10 } },
    defaults: { retries: 2, env: { REGION: "eu" } },
  })
    .task("extract", bash('echo 1 > "$SLUICE_OUTPUT"'))
    .task(
      "transform",
      { dependsOn: ["extract"], retries: 0, env: { N: "${{ params.limit }}" } },
      fn(({ outputs }) => outputs.extract),
    )
    .task("report", { dependsOn: ["transform"], timeout: "90m" }, http({ url: "https://example.org", method: "POST" }))
    .task("check", { dependsOn: ["transform"] }, python("print(1)"))
    .task(
      "count",
      sql({
        connection: "${{ secrets.WAREHOUSE }}",
        query: "select count(*) from orders where day = $1",
        params: ["x"],
      }),
    )
    .task("shrink", docker({ image: "alpine:3.22", command: ["gzip", "-k", "/in/orders"], network: "none" }))
    .task("stock", docker("alpine:3.22"))
    .task("done", { dependsOn: ["report", "check"], triggerRule: "none_failed" }, noop());

  test("makes the same model as a file that says the same", () => {
    const parsed = parseDefinition(etl.toYAML("./etl.ts"), "etl.yaml");
    expect(parsed).toEqual({ ok: true, spec: etl.toSpec("etl.ts") });
  });

  test("gives tasks the DAG's defaults where they do not say otherwise, and adds variables up", () => {
    const [extract, transform, report] = etl.toSpec("etl.ts").tasks;
    expect(extract).toMatchObject({ retries: { max: 2 }, env: { REGION: "eu" } });
    expect(transform).toMatchObject({ retries: { max: 0 }, env: { REGION: "eu", N: "${{ params.limit }}" } });
    expect(transform).toMatchObject({ type: "fn", config: { module: "etl.ts", export: "default.transform" } });
    expect(report).toMatchObject({ timeout: "1h30m", config: { method: "POST" } });
  });

  test("takes programs without the indentation of the file they stand in", () => {
    const made = dag("programs")
      .task(
        "py",
        python(`
          if True:
              print("x")
        `),
      )
      .task("sh", bash("  echo one"))
      .task(
        "rows",
        sql({
          connection: "postgres://reader@db.internal/warehouse",
          query: `
            select 1
              from orders
          `,
        }),
      );
    const [py, sh, rows] = made.toSpec("x.ts").tasks;
    expect(rows).toMatchObject({ config: { query: "select 1\n  from orders\n", params: [], maxRows: 1_000 } });
    expect(py).toMatchObject({ config: { code: 'if True:\n    print("x")\n' } });
    expect(sh).toMatchObject({ config: { command: "  echo one" } });
    expect(made.toYAML()).toContain('python: |\n      if True:\n          print("x")\n');
  });

  test("leaves a DAG as it was when a task is added to it", () => {
    const base = dag("base").task("a", noop());
    const left = base.task("left", noop()).toSpec("x.ts");
    const right = base.task("right", noop()).toSpec("x.ts");
    expect([left, right].map(({ tasks }) => tasks.map(({ id }) => id))).toEqual([
      ["a", "left"],
      ["a", "right"],
    ]);
  });

  test("tells everything that is wrong, by task", () => {
    const untyped = dag("wrong", { timezone: "Mars/Base" }) as unknown as {
      task: (id: string, options: object, executor: object) => { toSpec(module: string): unknown };
    };
    const wrong = untyped.task("a", { retrys: 1, timeout: "soon" }, bash(""));
    expect(() => wrong.toSpec("x.ts")).toThrow(
      /DAG "wrong" is not valid:\n {2}timezone: "Mars\/Base" is no IANA time zone[\s\S]*task "a"[\s\S]*timeout: must be a duration/,
    );
    const unknown = (dag("x") as unknown as typeof untyped).task("a", { dependsOn: ["b"] }, noop());
    expect(() => unknown.toSpec("x.ts")).toThrow(/task "a" depends on "b", which is not a task of this DAG/);
    const expression = dag("x").task("a", { env: { X: "${{ params.y }}" } }, bash("true"));
    expect(() => expression.toSpec("x.ts")).toThrow(/task "a": env.X: "y" is not a param/);
  });

  test("builds ten thousand tasks in a moment", () => {
    const before = process.cpuUsage();
    let large = dag("large") as unknown as {
      task(id: string, executor: object): typeof large;
      toSpec(m: string): { tasks: unknown[] };
    };
    for (let n = 0; n < 10_000; n++) large = large.task(`t${n}`, noop());
    expect(large.toSpec("x.ts").tasks).toHaveLength(10_000);
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(3_000);
  });
});

describe("notYet", () => {
  test("is told from every other value, also from one that looks the same", () => {
    const early = notYet({ after: "1m30s", reason: "no file" });
    expect(early).toMatchObject({ afterMs: 90_000, reason: "no file" });
    expect([early, { ...early }].map(isNotYet)).toEqual([true, true]);
    for (const other of [null, undefined, "notYet", { afterMs: 1, reason: "x" }, JSON.parse(JSON.stringify(early))])
      expect(isNotYet(other)).toBe(false);
  });

  test.for([
    ["soon", /"after" must be a duration like .* and at least 1s; it is "soon"/],
    ["200ms", /at least 1s; it is "200ms"/],
    [30, /it is 30/],
  ] as const)("refuses to look again after %j", ([after, message]) => {
    expect(() => notYet({ after: after as string, reason: "no file" })).toThrow(message);
  });

  test("wants to know what it waits for", () => {
    expect(() => notYet({ after: "30s", reason: "" })).toThrow('"reason" must say what the task waits for');
  });
});
