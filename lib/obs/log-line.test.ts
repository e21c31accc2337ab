import { expect, test } from "vitest";
import { renderLogLine } from "./log-line.ts";

const plain = { color: false };
const time = new Date(2026, 0, 2, 3, 4, 5, 6).toISOString();

function line(fields: Record<string, unknown>): string {
  return JSON.stringify({ level: "info", time, component: "worker", msg: "claimed", ...fields });
}

test.each([
  [{}, "03:04:05.006 INFO  worker claimed"],
  [{ attempt: 2, run: "run_1" }, "03:04:05.006 INFO  worker claimed attempt=2 run=run_1"],
  [{ text: "two words" }, '03:04:05.006 INFO  worker claimed text="two words"'],
  [
    { level: "error", err: { message: "no", stack: "Error: no\nat x" } },
    "03:04:05.006 ERROR worker claimed\n    Error: no\n    at x",
  ],
])("renders a log line of a child in words (%j)", (fields, expected) => {
  expect(renderLogLine(line(fields), plain)).toBe(expected);
});

test.each(["plain text", "{not json}", '{"a":1}', "", "{}", "[1]"])("passes %j through", (text) => {
  expect(renderLogLine(text, plain)).toBe(text);
});

test("colours only when asked", () => {
  expect(renderLogLine(line({}), { color: true })).toContain("\u001b[");
  expect(renderLogLine(line({}), plain)).not.toContain("\u001b[");
});
