import { expectTypeOf, test } from "vitest";
import { bash, dag, fn } from "./index.ts";

test("the compiler knows what each parent returns", () => {
  dag("typed")
    .task(
      "count",
      fn(() => ({ rows: 3 })),
    )
    .task(
      "name",
      fn(async () => "x"),
    )
    .task(
      "use",
      { dependsOn: ["count", "name"] },
      fn(({ outputs }) => {
        expectTypeOf(outputs.count).toEqualTypeOf<{ rows: number }>();
        expectTypeOf(outputs.name).toEqualTypeOf<string>();
        return outputs.count.rows;
      }),
    )
    .task("shell", { dependsOn: ["use"] }, bash("true"));
});

test("the compiler refuses an unknown parent, a doubled id and an output of a task that is no parent", () => {
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
  base.task(
    "d",
    { dependsOn: ["a"] },
    // @ts-expect-error -- "b" is not among the parents
    fn(({ outputs }) => void outputs.b),
  );
});
