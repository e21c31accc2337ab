import { expect, test } from "vitest";
import { operations } from "#lib/contract/index.ts";
import { readJsonBody } from "./body.ts";
import { parseBody, parseHeaders, parseParams, parseQuery } from "./input.ts";

const post = (body: string | undefined, type = "application/json"): Request =>
  new Request("http://x/", {
    method: "POST",
    ...(body === undefined ? {} : { body, headers: { "content-type": type } }),
  });

test("a malformed id is as unknown as an id of nothing", () => {
  for (const runId of ["0", "-1", "1e3", "99999999999999999999", "abc"]) {
    expect(() => parseParams(operations.getDagRun, { runId })).toThrow(
      expect.objectContaining({ code: "run_not_found" }),
    );
  }
});

test.each(["nope=1", "limit=0", "limit=1&limit=2", "cursor=x", "a&".repeat(2_049)])("query %s is refused", (query) => {
  const parse = () => parseQuery(operations.listDagRuns, query);
  expect(parse).toThrow(expect.objectContaining({ code: "invalid_request" }));
});

test("an unknown key in a body is refused, a key of 256 characters too", () => {
  expect(() => parseBody(operations.triggerDag, { config: {} })).toThrow(
    expect.objectContaining({ code: "invalid_request" }),
  );
  const headers = new Headers({ "idempotency-key": "k".repeat(256) });
  expect(() => parseHeaders(operations.triggerDag, headers)).toThrow(
    expect.objectContaining({ code: "invalid_request" }),
  );
});

test("bodies: nothing counts as empty, bad JSON, a wrong type and too much are told apart", async () => {
  expect(await readJsonBody(post(undefined))).toEqual({});
  await expect(readJsonBody(post("{"))).rejects.toMatchObject({ code: "invalid_request" });
  await expect(readJsonBody(post("{}", "text/plain"))).rejects.toMatchObject({ code: "unsupported_media_type" });
  await expect(readJsonBody(post(`"${"x".repeat(1024 * 1024)}"`))).rejects.toMatchObject({ code: "payload_too_large" });
});

test("brackets are counted outside of strings only, in a time that grows with the text and not faster", async () => {
  const deep = (text: string) =>
    readJsonBody(post(text)).then(
      () => "taken",
      (error: Error) => error.message,
    );
  expect(await deep(`{"a":"${"[".repeat(500)}\\"${"[".repeat(500)}"}`)).toBe("taken");
  expect(await deep(`{"a":${"[".repeat(101)}`)).toMatch(/deeper than 100/);
  const cpuMs = async (length: number): Promise<number> => {
    const body = `"${'\\"'.repeat(length / 2)}`;
    const before = process.cpuUsage();
    expect(await deep(body)).toMatch(/not valid JSON/);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  };
  await cpuMs(100_000);
  // A string that never ends: a search for whole strings took 2 s for 32,000 characters, and four times that for twice as many.
  expect(await cpuMs(1_000_000)).toBeLessThan(1_000);
});

test.each([
  ["a note", { note: "\ud800" }, "body.note"],
  ["a value of conf", { conf: { a: [{ b: "x\0" }] } }, "body.conf.a.0.b"],
  ["a key of conf", { conf: { "\udc00": 1 } }, "body.conf"],
])("what the database cannot store is refused, with its place: %s", (_, body, path) => {
  const errors = [{ path, message: expect.stringMatching(/NUL|surrogate/) }];
  expect(() => parseBody(operations.triggerDag, body)).toThrow(
    expect.objectContaining({ code: "invalid_request", details: { errors } }),
  );
});

test("of many mistakes in a body the first are told", () => {
  const conf = Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`k${n}`, "\0"]));
  const mistakes = (body: object): unknown[] => {
    try {
      parseBody(operations.triggerDag, body);
    } catch (error) {
      return (error as { details: { errors: unknown[] } }).details.errors;
    }
    return [];
  };
  expect(mistakes({ conf })).toHaveLength(10);
  expect(mistakes(conf).length).toBeLessThanOrEqual(20);
});

test("so it is in addresses", () => {
  expect(() => parseQuery(operations.listDagRuns, "cursor=%00")).toThrow(/query\.cursor: holds a NUL/);
});
