import fc from "fast-check";
import { expect, test } from "vitest";
import { createDemultiplexer } from "./demultiplex.ts";

type Sent = { stream: "stdout" | "stderr"; bytes: Buffer };

function frame({ stream, bytes }: Sent): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream === "stdout" ? 1 : 2;
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

function joined(pieces: readonly Sent[]): Record<string, string> {
  const of = (stream: string): string =>
    Buffer.concat(pieces.filter((piece) => piece.stream === stream).map((piece) => piece.bytes)).toString("hex");
  return { stdout: of("stdout"), stderr: of("stderr") };
}

const sent = fc.record({
  stream: fc.constantFrom("stdout" as const, "stderr" as const),
  bytes: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
});

test("each stream gets its own bytes, in order, however the frames are cut", () => {
  fc.assert(
    fc.property(fc.array(sent, { maxLength: 12 }), fc.array(fc.integer({ min: 1, max: 40 })), (frames, cuts) => {
      const all = Buffer.concat(frames.map(frame));
      const take = createDemultiplexer();
      const pieces: Sent[] = [];
      let at = 0;
      for (const length of [...cuts, all.length]) {
        pieces.push(...take(all.subarray(at, at + length)));
        at += length;
      }
      expect(joined(pieces)).toEqual(joined(frames));
    }),
  );
});

test("a frame is handed on as it comes, and not kept until it is whole", () => {
  const take = createDemultiplexer();
  const whole = frame({ stream: "stderr", bytes: Buffer.from("a long line\n") });
  expect(joined(take(whole.subarray(0, 12)))).toEqual({ stdout: "", stderr: Buffer.from("a lo").toString("hex") });
});

test("what is not made of frames is refused", () => {
  const take = createDemultiplexer();
  expect(() => take(Buffer.from("plain text of a terminal"))).toThrow(/not made of frames/);
});
