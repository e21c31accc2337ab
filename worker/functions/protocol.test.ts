import { expect, test } from "vitest";
import { isFromFunctionChild } from "./protocol.ts";

test.for([
  { kind: "log", stream: "stderr", bytes: Buffer.from("x") },
  { kind: "returned", json: undefined },
  { kind: "returned", json: "1", pushed: { a: "2" } },
  { kind: "deferred", afterMs: 1, reason: "later" },
  { kind: "unstorable", reason: "RESULT_TOO_LARGE", error: "it is" },
  { kind: "threw", error: "it failed" },
])("%j is a message of ours", (message) => {
  expect(isFromFunctionChild(message)).toBe(true);
});

test.for([
  undefined,
  null,
  "returned",
  [],
  {},
  { kind: "toString" },
  { kind: ["returned"] },
  { kind: "log", stream: "system", bytes: Buffer.from("x") },
  { kind: "log", stream: "stdout", bytes: "x" },
  { kind: "returned", json: 1 },
  { kind: "returned", pushed: { a: 2 } },
  { kind: "returned", pushed: ["a"] },
  { kind: "deferred", afterMs: "1", reason: "later" },
  { kind: "unstorable", reason: "x" },
  { kind: "threw" },
])("%j is none, whatever the function's code sends", (message) => {
  expect(isFromFunctionChild(message)).toBe(false);
});
