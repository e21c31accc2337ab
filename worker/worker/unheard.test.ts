import { beforeEach, expect, test } from "vitest";
import { createUnheard, type Unheard } from "./unheard.ts";

const KEEP_MS = 30_000;

let now: number;
let inbox: string[];
let given: string[][];
let failures: unknown[];
let answer: () => Promise<void>;
let unheard: Unheard;

beforeEach(() => {
  now = 0;
  inbox = [];
  given = [];
  failures = [];
  answer = () => Promise.resolve();
  unheard = createUnheard({
    inbox,
    keepMs: KEEP_MS,
    handBack: (tokens) => {
      given.push([...tokens]);
      return answer();
    },
    onError: (error) => failures.push(error),
    nowMs: () => now,
  });
});

test("a token is given back again as long as its call may still commit, and then forgotten", async () => {
  inbox.push("a");
  await unheard.giveBack();
  now = 20_000;
  inbox.push("b");
  await unheard.giveBack();
  now = KEEP_MS;
  await unheard.giveBack();
  now = 50_000;
  await unheard.giveBack();
  await unheard.giveBack();
  expect(given).toEqual([["a"], ["a", "b"], ["a", "b"], ["b"]]);
});

test("without tokens the database is not asked", async () => {
  await unheard.giveBack();
  expect(given).toEqual([]);
});

test("what could not be given back is not forgotten, however old it is", async () => {
  inbox.push("a");
  answer = () => Promise.reject(new Error("locked"));
  await unheard.giveBack();
  now = 10 * KEEP_MS;
  await unheard.giveBack();
  answer = () => Promise.resolve();
  await unheard.giveBack();
  await unheard.giveBack();
  expect(given).toEqual([["a"], ["a"], ["a"]]);
  expect(failures).toHaveLength(2);
});

test("a call while one is under way waits for it; what came meanwhile is given back at the next", async () => {
  const done = Promise.withResolvers<void>();
  answer = () => done.promise;
  inbox.push("a");
  const first = unheard.giveBack();
  inbox.push("b");
  const second = unheard.giveBack();
  done.resolve();
  await Promise.all([first, second]);
  expect(given).toEqual([["a"]]);
  await unheard.giveBack();
  expect(given).toEqual([["a"], ["a", "b"]]);
});
