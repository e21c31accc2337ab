import fc from "fast-check";
import { expect, test } from "vitest";
import { BadFrame, createFrameReader, type Frame, frame } from "./frames.ts";

const LIMITS = { a: 100, b: 3, c: 0 };

/** What a reader has taken of these pieces, and whether it has refused the rest. */
function read(pieces: readonly Buffer[]): { frames: Frame[]; isRefused: boolean } {
  const frames: Frame[] = [];
  const cut = createFrameReader(LIMITS, (one) => frames.push(one));
  try {
    pieces.forEach(cut);
    return { frames, isRefused: false };
  } catch (error) {
    expect(error).toBeInstanceOf(BadFrame);
    return { frames, isRefused: true };
  }
}

function inPieces(all: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.subarray(n * size, (n + 1) * size));
}

const good = fc
  .tuple(fc.constantFrom("a", "b", "c"), fc.nat(2 ** 32 - 1), fc.uint8Array({ maxLength: 100 }))
  .map(([letter, id, bytes]) => ({ letter, id, payload: Buffer.from(bytes).subarray(0, LIMITS[letter as "a"]) }));
const size = fc.integer({ min: 1, max: 200 });

test("frames arrive, however they are cut", () => {
  fc.assert(
    fc.property(fc.array(good), size, (sent, cut) => {
      const bytes = Buffer.concat(sent.map(({ letter, id, payload }) => frame(letter, id, payload)));
      expect(read(inPieces(bytes, cut))).toEqual({ frames: sent, isRefused: false });
    }),
  );
});

test("the first that is none is refused at its head; those before it are taken", () => {
  const head = (length: number, letter: string): Buffer => {
    const bytes = frame(letter, 1, Buffer.alloc(0));
    bytes.writeUInt32BE(length, 0);
    return bytes;
  };
  const bad = fc.constantFrom(
    head(2 ** 32 - 1, "a"),
    head(5 + 101, "a"),
    head(5 + 4, "b"),
    head(5 + 1, "c"),
    head(4, "a"),
    head(0, "a"),
    head(5, "z"),
    head(5, "\0"),
    Buffer.from("toString and more"),
  );
  fc.assert(
    fc.property(fc.array(good), bad, size, (sent, wrong, cut) => {
      const bytes = Buffer.concat([...sent.map(({ letter, id, payload }) => frame(letter, id, payload)), wrong]);
      expect(read(inPieces(bytes, cut))).toEqual({ frames: sent, isRefused: true });
    }),
  );
});

test("what comes is never compared or copied again and again", () => {
  let taken = 0;
  const cut = createFrameReader({ a: 2 ** 31 }, ({ payload }) => (taken = payload.length));
  const bytes = frame("a", 1, Buffer.alloc(8 * 1024 * 1024));
  const before = process.cpuUsage();
  for (let at = 0; at < bytes.length; at += 64) cut(bytes.subarray(at, at + 64));
  const { user, system } = process.cpuUsage(before);
  expect(taken).toBe(8 * 1024 * 1024);
  // 130,000 pieces of 64 bytes; a copy for each would be half a terabyte.
  expect((user + system) / 1000).toBeLessThan(3_000);
});
