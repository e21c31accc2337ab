import { expect, test } from "vitest";
import { endOfCall } from "./protocol.ts";

const saying = (message: unknown): Buffer => Buffer.from(JSON.stringify(message) ?? "undefined");

test.for([
  { kind: "returned", pushed: {} },
  { kind: "returned", output: null, pushed: {} },
  { kind: "returned", output: 1, pushed: { a: "2" } },
  { kind: "deferred", afterMs: 1, reason: "later" },
  { kind: "unstorable", reason: "RESULT_TOO_LARGE", error: "it is" },
  { kind: "threw", error: "it failed" },
])("%j is an end", (message) => {
  expect(endOfCall(saying(message))).toEqual(message);
});

test.for([
  undefined,
  null,
  "returned",
  [],
  {},
  { kind: "toString" },
  { kind: ["returned"] },
  { kind: "returned" },
  { kind: "returned", pushed: ["a"] },
  { kind: "deferred", afterMs: "1", reason: "later" },
  { kind: "unstorable", reason: "x", error: "it is" },
  { kind: "unstorable", reason: "RESULT_TOO_LARGE" },
  { kind: "threw" },
])("%j is none, whatever the function's code sends", (message) => {
  expect(() => endOfCall(saying(message))).toThrow(/./);
});
