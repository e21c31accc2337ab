import { expect, test } from "vitest";
import { heapBounds } from "./heap-bounds.ts";

test("a worker and a scheduler have a small space for new objects", () => {
  expect(heapBounds()).toEqual(["--max-semi-space-size=4"]);
  expect(heapBounds("--max-old-space-size=512")).toEqual(["--max-semi-space-size=4"]);
});

test("what the operator says prevails", () => {
  expect(heapBounds("--max-semi-space-size=32")).toEqual([]);
});
