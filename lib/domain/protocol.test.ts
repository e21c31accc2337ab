import { expect, test } from "vitest";
import { protocolTrouble } from "./protocol.ts";

test("a program works with a database that takes its protocol, from the oldest to the newest", () => {
  expect([2, 3, 4].map((version) => protocolTrouble({ min: 2, max: 4 }, version))).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test("a program that is too old or too new is told which, and what to do", () => {
  expect(protocolTrouble({ min: 2, max: 2 }, 1)).toBe(
    "this program speaks protocol 1, which is too old: the database takes protocol 2. Upgrade this program",
  );
  expect(protocolTrouble({ min: 1, max: 2 }, 3)).toBe(
    'this program speaks protocol 3, which is too new: the database takes protocols 1 to 2. Run "sluice migrate"',
  );
});
