import { expect, test } from "vitest";
import {
  appendChunks,
  countGrave,
  linesAtLeast,
  MAX_EARLIER,
  MAX_LENGTH,
  MAX_LINES,
  NO_LINES,
  type Stream,
} from "./log-lines.ts";

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

test("a line has the level that it says, or that of the line it goes on with in its stream", () => {
  const log = appendChunks(NO_LINES, [
    chunk("stderr", "ERR"),
    chunk("stdout", "  plain\n"),
    chunk("stderr", "OR no luck\n  at load\nnext\n"),
    chunk("system", "ERROR is what the server said\n"),
  ]);
  expect(log.lines.map(({ level }) => level)).toEqual(["error", undefined, "error", undefined, undefined]);
  const shown = (least: Parameters<typeof linesAtLeast>[1]): number[] =>
    linesAtLeast(log, least).map(({ number }) => number);
  expect(shown("error")).toEqual([1, 3]);
  expect(countGrave(log)).toEqual({ warn: 0, error: 2 });
  expect(shown("info")).toEqual([1, 2, 3, 4, 5]);
  expect(shown(undefined)).toEqual([1, 2, 3, 4, 5]);
});

test("warnings and errors from before the lines that are kept are kept a while longer", () => {
  const first = appendChunks(NO_LINES, [chunk("stdout", "ERROR a\nb\n[warn] c\nDEBUG d\n")]);
  const later = appendChunks(first, [chunk("stdout", "x\n".repeat(MAX_LINES))]);
  expect(later.lines).toHaveLength(MAX_LINES);
  expect(linesAtLeast(later, "warn").map(({ text }) => text)).toEqual(["ERROR a", "[warn] c"]);
  expect(linesAtLeast(later, "info")).toHaveLength(MAX_LINES);
  const full = appendChunks(later, [chunk("stdout", "ERROR\n".repeat(MAX_LINES + MAX_EARLIER + 5))]);
  expect(full.earlier).toHaveLength(MAX_EARLIER);
});

test("a line that returns to its beginning is only its last form, however often it does", () => {
  let log = NO_LINES;
  for (let n = 0; n <= 20_000; n++) log = appendChunks(log, [chunk("stdout", `\r${n} of 20000`)]);
  expect(log.lines).toMatchObject([{ text: "20000 of 20000", cut: 0, number: 1 }]);
  expect(appendChunks(log, [chunk("stdout", "\r\ndone\r\n")]).lines.map(({ text }) => text)).toEqual([
    "20000 of 20000\r",
    "done\r",
  ]);
});

test("of an endless line the beginning is kept, in time that its length does not matter for", () => {
  const started = process.cpuUsage();
  let log = appendChunks(NO_LINES, [chunk("stdout", "ERROR ")]);
  for (let n = 0; n < 1_600; n++) log = appendChunks(log, [chunk("stdout", "x".repeat(64 * 1024))]);
  expect(log.lines).toMatchObject([{ cut: 1_600 * 64 * 1024 + 6 - MAX_LENGTH, level: "error", number: 1 }]);
  expect(log.lines[0]!.text).toHaveLength(MAX_LENGTH);
  // Its own time, and not what other processes take.
  expect(process.cpuUsage(started).user).toBeLessThan(2_000_000);
});
