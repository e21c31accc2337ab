import { expect, test } from "vitest";
import { createGate } from "./gate.ts";

test("so many at once, the others in turn, and no more than may wait", async () => {
  const gate = createGate(2, 3);
  const ends: PromiseWithResolvers<number>[] = [];
  let most = 0;
  let inside = 0;
  const work = async (): Promise<number> => {
    most = Math.max(most, ++inside);
    const end = Promise.withResolvers<number>();
    ends.push(end);
    return end.promise.finally(() => inside--);
  };
  const entered = Array.from({ length: 7 }, () => gate.enter(work));
  expect(entered.map((one) => one !== undefined)).toEqual([true, true, true, true, true, false, false]);
  for (let n = 0; n < 5; n++) {
    if (n === 1) ends[n]!.reject(new Error("one fails"));
    else ends[n]!.resolve(n);
    await entered[n]!.catch(() => undefined);
    await new Promise(setImmediate);
  }
  expect([ends.length, most, inside]).toEqual([5, 2, 0]);
  expect(gate.enter(work)).toBeDefined();
});
