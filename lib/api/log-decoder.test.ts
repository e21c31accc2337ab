import { expect, test } from "vitest";
import { logDecoder } from "./log-decoder.ts";

test("a character split over two chunks survives, with the other stream in between", () => {
  const bytes = new TextEncoder().encode("a€b");
  const decode = logDecoder();
  const at = "2026-11-23T12:00:00.000Z";
  const texts = [
    decode({ seq: 0, stream: "stdout", at, chunk: bytes.slice(0, 2) }),
    decode({ seq: 1, stream: "stderr", at, chunk: new TextEncoder().encode("!") }),
    decode({ seq: 2, stream: "stdout", at, chunk: bytes.slice(2) }),
  ].map(({ text }) => text);
  expect(texts).toEqual(["a", "!", "€b"]);
});
