import { expect, test } from "vitest";
import { logDecoder } from "./log-decoder.ts";

test("a character split over two chunks survives, with the other stream in between", () => {
  const bytes = new TextEncoder().encode("a€b");
  const { text: decode } = logDecoder();
  const at = "2026-11-23T12:00:00.000Z";
  const texts = [
    decode({ seq: 0, stream: "stdout", at, chunk: bytes.slice(0, 2) }),
    decode({ seq: 1, stream: "stderr", at, chunk: new TextEncoder().encode("!") }),
    decode({ seq: 2, stream: "stdout", at, chunk: bytes.slice(2) }),
  ].map(({ text }) => text);
  expect(texts).toEqual(["a", "!", "€b"]);
});

test("bytes that are no text are marks, also when the log ends in the middle of a character", () => {
  const decoder = logDecoder();
  const at = "2026-11-23T12:00:00.000Z";
  const row = (seq: number, ...bytes: number[]) => ({
    seq,
    stream: "stdout" as const,
    at,
    chunk: Uint8Array.from(bytes),
  });
  expect(decoder.text(row(0, 0x61, 0xff, 0x62, 0xe2)).text).toBe("a\uFFFDb");
  expect(decoder.end()).toEqual([{ seq: 1, stream: "stdout", at, text: "\uFFFD" }]);
  expect(logDecoder().end()).toEqual([]);
});
