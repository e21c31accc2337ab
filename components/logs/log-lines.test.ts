import { expect, test } from "vitest";
import { appendChunks, MAX_LINES, NO_LINES, type Stream } from "./log-lines.ts";

const chunk = (stream: Stream, text: string) => ({ seq: 0, stream, at: "2026-11-23T12:00:00.000Z", text });

test("a line split over chunks is one line, though the other stream spoke in between", () => {
  const { lines } = appendChunks(NO_LINES, [
    chunk("stdout", "hel"),
    chunk("stderr", "warn\n"),
    chunk("stdout", "lo\nnext"),
  ]);
  expect(lines.map(({ stream, text }) => `${stream}:${text}`)).toEqual(["stdout:hello", "stderr:warn", "stdout:next"]);
});

test("empty lines stay, and a line end at the end opens no line", () => {
  const { lines, total } = appendChunks(NO_LINES, [chunk("stdout", "a\n\nb\n")]);
  expect(lines.map(({ text }) => text)).toEqual(["a", "", "b"]);
  expect(total).toBe(3);
});

test("only the last lines are kept, under their own numbers", () => {
  const { lines, total } = appendChunks(NO_LINES, [chunk("stdout", "x\n".repeat(MAX_LINES + 10))]);
  expect(lines).toHaveLength(MAX_LINES);
  expect(total).toBe(MAX_LINES + 10);
  expect(lines[0]!.number).toBe(11);
});
