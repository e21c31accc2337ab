import { expectTypeOf, test } from "vitest";
import { z } from "zod";
import { bash, dag, defineExecutor, fn } from "./index.ts";

const mail = defineExecutor({
  type: "acme-mail",
  displayName: "Mail",
  about: "Sends a mail.",
  config: z.strictObject({ to: z.string(), copies: z.int().default(1), urgent: z.boolean().optional() }),
  shorthand: "to",
  async run(task, config) {
    expectTypeOf(config).toEqualTypeOf<{ to: string; copies: number; urgent?: boolean | undefined }>();
    expectTypeOf(task.deadline).toEqualTypeOf<Date>();
    if (config.copies > 3) return { kind: "failed", reason: "TOO_MANY", error: "no" };
    return { kind: "success", output: { id: "m-1", at: new Date(0) } };
  },
});

test("the compiler knows what a plugin takes and what it leaves", () => {
  dag("typed")
    .task("tell", mail({ to: "ops" }))
    .task("short", mail("ops"))
    .task("later", { dependsOn: ["tell"] }, mail({ to: "${{ params.to }}", copies: "${{ outputs.tell.n }}" }))
    .task(
      "use",
      { dependsOn: ["tell"] },
      fn(({ outputs }) => {
        expectTypeOf(outputs.tell).toEqualTypeOf<{ id: string; at: string }>();
      }),
    );
  const base = dag("refused").task("a", bash("true"));
  // @ts-expect-error -- a mail goes to somebody
  base.task("b", mail({ copies: 2 }));
  // @ts-expect-error -- a number, or an expression that gives one
  base.task("b", mail({ to: "ops", copies: "two" }));
  // @ts-expect-error -- no such member
  base.task("b", mail({ to: "ops", cc: "x" }));
  // @ts-expect-error -- a config is needed
  base.task("b", mail());
});
