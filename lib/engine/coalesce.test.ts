import { expect, test } from "vitest";
import { createCoalesce } from "./coalesce.ts";

test("one pass runs and one waits, and every call gets a pass that began after it", async () => {
  const coalesce = createCoalesce();
  const gates: PromiseWithResolvers<number>[] = [];
  const pass = (): Promise<number> => {
    const gate = Promise.withResolvers<number>();
    gates.push(gate);
    return gate.promise;
  };
  const first = coalesce("a", pass);
  const second = coalesce("a", pass);
  const third = coalesce("a", pass);
  expect(gates).toHaveLength(1);
  gates[0]!.resolve(1);
  expect(await first).toBe(1);
  expect(gates).toHaveLength(2);
  gates[1]!.resolve(2);
  expect(await Promise.all([second, third])).toEqual([2, 2]);
});

test("a pass that fails fails for its callers only, and keys do not wait for each other", async () => {
  const coalesce = createCoalesce();
  const gate = Promise.withResolvers<never>();
  const failing = coalesce("a", () => gate.promise);
  const next = coalesce("a", async () => "next");
  expect(await coalesce("b", async () => "other")).toBe("other");
  gate.reject(new Error("no"));
  await expect(failing).rejects.toThrow("no");
  expect(await next).toBe("next");
});
