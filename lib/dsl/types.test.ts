import { expectTypeOf, test } from "vitest";
import { bash, dag, docker, fn, http, noop, notYet, python, sql } from "./index.ts";

test("the compiler knows what each parent returns, as it arrives", () => {
  dag("typed")
    .task(
      "count",
      fn(() => ({ rows: 3, at: new Date(0), run: () => 1 })),
    )
    .task(
      "name",
      fn(async () => "x"),
    )
    .task(
      "nothing",
      fn(() => undefined),
    )
    .task("call", http<{ ok: boolean }>("https://example.org"))
    .task("shell", bash<string[]>("true"))
    .task("rows", sql<{ id: string; at: string }[]>({ connection: "${{ secrets.W }}", query: "select", params: [1] }))
    .task(
      "use",
      { dependsOn: ["count", "name", "call", "shell", "rows", "nothing"] },
      fn(({ outputs }) => {
        expectTypeOf(outputs.count).toEqualTypeOf<{ rows: number; at: string }>();
        expectTypeOf(outputs.name).toEqualTypeOf<string>();
        expectTypeOf(outputs.call.body.ok).toEqualTypeOf<boolean>();
        expectTypeOf(outputs.shell).toEqualTypeOf<string[]>();
        expectTypeOf(outputs.rows).toEqualTypeOf<{ id: string; at: string }[]>();
        expectTypeOf(outputs.nothing).toEqualTypeOf<undefined>();
        return outputs.count.rows;
      }),
    )
    .task("next", { dependsOn: ["use"] }, python("pass"))
    .task("end", { dependsOn: ["next"], retries: 3, timeout: "5m" }, noop());
});

test('a function that may say "not yet" leaves what it returns otherwise', () => {
  const maybe = (): { path: string; at: Date } | undefined => undefined;
  dag("waits")
    .task(
      "file",
      fn(() => maybe() ?? notYet({ after: "30s", reason: "no file" })),
    )
    .task(
      "later",
      fn(async ({ attemptId }) => {
        if (attemptId === "") return notYet({ after: "1m", reason: "too early" });
        return [1, 2];
      }),
    )
    .task(
      "never",
      fn(() => notYet({ after: "1h", reason: "never" })),
    )
    .task(
      "use",
      { dependsOn: ["file", "later", "never"] },
      fn(({ outputs }) => {
        expectTypeOf(outputs.file).toEqualTypeOf<{ path: string; at: string }>();
        expectTypeOf(outputs.later).toEqualTypeOf<number[]>();
        expectTypeOf(outputs.never).toEqualTypeOf<never>();
      }),
    );
  // @ts-expect-error -- people want to know what it waits for
  const quiet = () => notYet({ after: "30s" });
  // @ts-expect-error -- a duration is a text, like everywhere
  const bare = () => notYet({ after: 30, reason: "no file" });
  void [quiet, bare];
});

test("under a rule that does not need every parent, an output may be missing", () => {
  dag("partial")
    .task(
      "a",
      fn(() => 1),
    )
    .task(
      "cleanup",
      { dependsOn: ["a"], triggerRule: "all_done" },
      fn(({ outputs }) => {
        expectTypeOf(outputs.a).toEqualTypeOf<number | undefined>();
      }),
    );
});

test("params have the types of their schemas", () => {
  dag("params", {
    params: {
      limit: { type: "integer", default: 10 },
      mode: { enum: ["fast", "safe"], default: "safe" },
      any: {},
    },
  }).task(
    "a",
    fn(({ params, env }) => {
      expectTypeOf(env.TOKEN).toEqualTypeOf<string | undefined>();
      expectTypeOf(params.limit).toEqualTypeOf<number>();
      expectTypeOf(params.mode).toEqualTypeOf<"fast" | "safe">();
      expectTypeOf(params.any).toEqualTypeOf<unknown>();
      // @ts-expect-error -- there is no such param
      void params.limt;
    }),
  );
});

test("the compiler refuses an unknown parent, a doubled id, a wrong option and an output of a task that is no parent", () => {
  const base = dag("refused")
    .task(
      "a",
      fn(() => 1),
    )
    .task(
      "b",
      fn(() => "b"),
    );
  // @ts-expect-error -- "c" is not a task
  base.task("d", { dependsOn: ["c"] }, bash("true"));
  // @ts-expect-error -- "a" is taken
  base.task("a", bash("true"));
  // @ts-expect-error -- no such rule
  base.task("d", { dependsOn: ["a"], triggerRule: "all_sucess" }, bash("true"));
  // @ts-expect-error -- no such option
  base.task("d", { dependsOn: ["a"], retrys: 1 }, bash("true"));
  // @ts-expect-error -- a statement needs a connection
  base.task("d", sql({ query: "select 1" }));
  // @ts-expect-error -- no such option of a statement
  base.task("d", sql({ connection: "postgres://u@h/d", query: "select 1", maxRow: 1 }));
  base.task("d", bash({ script: "./load.sh", args: ["x"], cwd: "/data", strict: false, failOn: [3] }));
  base.task("d", python({ file: "./load.py", args: ["x"], venv: "/opt/venv" }));
  // @ts-expect-error -- a command or a script
  base.task("d", bash({ command: "true", script: "./load.sh" }));
  // @ts-expect-error -- one of the two
  base.task("d", bash({ strict: false }));
  // @ts-expect-error -- only a script has arguments
  base.task("d", bash({ command: "true", args: ["x"] }));
  // @ts-expect-error -- the text or a file
  base.task("d", python({ code: "pass", file: "./load.py" }));
  // @ts-expect-error -- a virtual environment has its own interpreter
  base.task("d", python({ code: "pass", venv: "/opt/venv", interpreter: "python3" }));
  // @ts-expect-error -- no such pull policy of a container
  base.task("d", docker({ image: "alpine:3.22", pull: "sometimes" }));
  // @ts-expect-error -- no such option of a DAG
  dag("x", { schedul: "@daily" });
  base.task(
    "d",
    { dependsOn: ["a"] },
    // @ts-expect-error -- "b" is not among the parents
    fn(({ outputs }) => void outputs.b),
  );
});
