import { expect, test } from "vitest";
import type { Claimed } from "#lib/db/claims.ts";
import type { Finish } from "#lib/db/finishes.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { createInputs } from "./inputs.ts";

/** What a child continues with is handed over in the worker; only what is not there is read from the database. */

const asked: unknown[] = [];
const pool = {
  async query({ values }: { values: [string[]] }) {
    asked.push(values[0]);
    return { rows: values[0].map((id) => ({ id, left: { parent: { return_value: "read" } } })) };
  },
};
const inputs = createInputs({ pool } as unknown as EngineDeps);

const attempt = (taskId: string, dependsOn: string[] = []): Claimed =>
  ({ attemptId: `attempt of ${taskId}`, taskInstanceId: taskId, taskId, task: { dependsOn } }) as unknown as Claimed;
const ended = (end: Partial<Finish>): Finish => ({
  taskInstanceId: "1",
  token: "t",
  state: "success",
  reason: "EXIT",
  ...end,
});

const parent = attempt("parent");
const of = async (child: Claimed, end: Partial<Finish>): Promise<{ left: unknown; asked: unknown[] }> => {
  asked.length = 0;
  inputs.handOver(child, parent, ended(end));
  const left = await inputs.of(child);
  inputs.forget(child);
  return { left, asked: [...asked] };
};

test("the only parent's output and XComs reach the child without a question, as the database would return them", async () => {
  const child = attempt("child", ["parent"]);
  const { left, asked: ids } = await of(child, { output: '{"bb":1,"a":[{"z":1,"y":2}]}', pushed: { file: '"a.csv"' } });
  expect(JSON.stringify(left)).toBe(
    '{"outputs":{"parent":{"a":[{"y":2,"z":1}],"bb":1}},"xcoms":{"parent":{"file":"a.csv"}}}',
  );
  expect(ids).toEqual([]);
  expect(await of(child, {})).toEqual({ left: { outputs: {}, xcoms: {} }, asked: [] });
});

test("what is not handed over is read: of other parents, what is large, what may have expired, what was forgotten", async () => {
  const read = { outputs: { parent: "read" }, xcoms: {} };
  const child = attempt("child", ["parent"]);
  expect(await of(attempt("child", ["parent", "other"]), { output: "1" })).toEqual({ left: read, asked: [["child"]] });
  expect(await of(attempt("child", ["other"]), { output: "1" })).toEqual({ left: read, asked: [["child"]] });
  expect(await of(child, { output: JSON.stringify("x".repeat(70_000)) })).toEqual({ left: read, asked: [["child"]] });
  expect(await of(child, { output: "1", xcomTtlMs: 1 })).toEqual({ left: read, asked: [["child"]] });
  asked.length = 0;
  expect([await inputs.of(child), asked]).toEqual([read, [["child"]]]);
});
