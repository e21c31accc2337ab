import { expect, test } from "vitest";
import { restAfter } from "./admission-rest.ts";

test("after a pass that handed over many, the leader rests as long as the pass took", () => {
  expect(restAfter(6, 100)).toBe(6);
});

test("after a pass that handed over few, it rests longer: the next pass finds more", () => {
  expect(restAfter(6, 3)).toBe(24);
});

test("however slow the database is, a request does not wait long", () => {
  expect(restAfter(900, 0)).toBe(50);
  expect(restAfter(900, 1_000)).toBe(50);
});
