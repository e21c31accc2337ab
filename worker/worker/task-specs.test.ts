import { expect, test } from "vitest";
import { createTaskSpecs } from "./task-specs.ts";

const task = (id: string, more: object = {}): object => ({ id, type: "noop", config: {}, ...more });

test("the same task is read once, and is what the model makes of it", () => {
  const specs = createTaskSpecs();
  const first = specs.read(task("a", { timeout: "5m" }));
  expect(first).toMatchObject({ id: "a", timeout: "5m", retries: { max: 0 } });
  expect(specs.read(task("a", { timeout: "5m" }))).toBe(first);
  expect(specs.read(task("a", { timeout: "6m" }))).not.toBe(first);
  expect(() => specs.read({ id: "a" })).toThrow();
});

test("not kept are tasks of plugins, which may change what they are given, long ones, and more than a thousand", () => {
  const specs = createTaskSpecs();
  for (const each of [task("p", { type: "theirs" }), task("l", { env: { A: "x".repeat(5_000) } })]) {
    expect(specs.read(each)).not.toBe(specs.read(each));
    expect(specs.read(each)).toEqual(specs.read(each));
  }
  const first = specs.read(task("t0"));
  for (let n = 1; n <= 1_000; n++) specs.read(task(`t${n}`));
  expect(specs.read(task("t0"))).not.toBe(first);
});
