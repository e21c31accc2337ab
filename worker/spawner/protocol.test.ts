import fc from "fast-check";
import { expect, test } from "vitest";
import { createFrameReader, type Frame } from "../frames/frames.ts";
import {
  decodeFromSpawner,
  decodeToSpawner,
  encodeFromSpawner,
  encodeToSpawner,
  FROM_SPAWNER,
  TO_SPAWNER,
} from "./protocol.ts";
import type { FromSpawner, ToSpawner } from "./protocol.ts";

const id = fc.integer({ min: 1, max: 2 ** 31 });
const text = fc.string({ unit: "binary" }).map((value) => value.toWellFormed());
const texts = fc.dictionary(text, text);
const variables = fc.dictionary(
  text.filter((name) => !name.includes("=")),
  text,
);
const stream = fc.constantFrom<"stdout" | "stderr">("stdout", "stderr");
const bytes = fc.uint8Array({ maxLength: 300 }).map((values) => Buffer.from(values));
const number = fc.option(fc.nat(), { nil: undefined });
const some = fc.option(fc.string({ minLength: 1 }), { nil: undefined });

const toSpawner = fc.oneof<fc.Arbitrary<ToSpawner>[]>(
  fc.record({
    kind: fc.constant("run"),
    id,
    file: text,
    folder: text,
    cwd: some,
    user: fc.option(fc.record({ uid: fc.nat(), gid: fc.nat(), isAlone: fc.boolean() }), { nil: undefined }),
    args: fc.array(text),
    env: variables,
    files: texts,
    outputs: fc.array(fc.record({ name: text, maxBytes: fc.nat() })),
    procs: fc.array(text),
  }),
  fc.record({ kind: fc.constant("kill"), id, signal: fc.constantFrom("SIGTERM", "SIGKILL") }),
  fc.record({ kind: fc.constant("more"), id, stream }),
  fc.record({ kind: fc.constant("ping"), id }),
);

const fromSpawner = fc.oneof<fc.Arbitrary<FromSpawner>[]>(
  fc.record({ kind: fc.constant("started"), id, pid: fc.nat() }),
  fc.record({ kind: fc.constant("data"), id, stream, bytes }),
  fc.record({ kind: fc.constantFrom("ended", "pong"), id }),
  fc.record({
    kind: fc.constant("exit"),
    id,
    code: number,
    signal: number,
    error: some,
    cpuMs: number,
    peakKib: number,
    files: fc.array(fc.record({ size: number, bytes, trouble: some })),
  }),
  fc.record({ kind: fc.constant("notice"), text }),
);

/** All of it in pieces of the given sizes, again and again. */
function inPieces(all: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, n = 0; at < all.length; n++) {
    const end = at + sizes[n % sizes.length]!;
    pieces.push(all.subarray(at, end));
    at = end;
  }
  return pieces;
}

test("whatever is said arrives, however the pipe cuts it", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 });
  fc.assert(
    fc.property(fc.array(toSpawner), fc.array(fromSpawner), sizes, (asked, answered, cuts) => {
      const there: Frame[] = [];
      const back: Frame[] = [];
      inPieces(Buffer.concat(asked.map(encodeToSpawner)), cuts).forEach(
        createFrameReader(TO_SPAWNER, (one) => there.push(one)),
      );
      inPieces(Buffer.concat(answered.map(encodeFromSpawner)), cuts).forEach(
        createFrameReader(FROM_SPAWNER, (one) => back.push(one)),
      );
      expect(there.map(decodeToSpawner)).toEqual(asked);
      expect(back.map(decodeFromSpawner)).toEqual(answered);
    }),
  );
});
