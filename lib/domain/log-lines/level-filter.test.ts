import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { levelFilter } from "./level-filter.ts";
import { LOG_LEVELS, type LogLevel } from "./level-words.ts";
import { isAtLeast, levelBelow } from "./level.ts";

type Piece = { stream: string; bytes: Buffer };

function filtered(least: LogLevel, pieces: readonly Piece[]): string {
  const filter = levelFilter(least);
  const passed = pieces.flatMap(({ stream, bytes }) => filter.write(stream, bytes));
  return Buffer.concat([...passed, ...filter.end()]).toString("latin1");
}

const line = fc.oneof(
  fc.constantFrom(
    "ERROR a",
    "warn: b",
    "INFO c",
    "DEBUG d",
    "plain",
    "  at x",
    "",
    "\u001b[31mERROR\u001b[0m",
    "é".repeat(9),
  ),
  fc.string({ maxLength: 20 }).map((text) => text.replaceAll("\n", " ")),
  fc.constantFrom("x", "ERROR ").map((start) => start.padEnd(20_000, "€")),
);
const text = fc
  .array(line, { maxLength: 12 })
  .chain((lines) => fc.constantFrom(lines.join("\n"), `${lines.join("\n")}\n`));
const anyBytes = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const cuts = fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1, maxLength: 6 });
const level = fc.constantFrom(...LOG_LEVELS);

/** The bytes in pieces of these sizes, again and again. */
function inPieces(stream: string, bytes: Buffer, sizes: readonly number[]): Piece[] {
  const pieces: Piece[] = [];
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const end = at + sizes[n % sizes.length]!;
    pieces.push({ stream, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return pieces;
}

describe("a filter by level", () => {
  test("lets through the lines that are grave enough, byte for byte, however the output is cut", () => {
    fc.assert(
      fc.property(text, cuts, level, (all, sizes, least) => {
        let above: LogLevel | undefined;
        const expected = all.split(/(?<=\n)/).filter((one) => {
          above = levelBelow(above, one.replace(/\n$/, ""));
          return isAtLeast(above, least);
        });
        const pieces = inPieces("stdout", Buffer.from(all), sizes);
        expect(filtered(least, pieces)).toBe(Buffer.from(expected.join("")).toString("latin1"));
      }),
    );
  });

  test("lets everything through at debug, also what is no text", () => {
    fc.assert(
      fc.property(anyBytes, cuts, (bytes, sizes) => {
        expect(filtered("debug", inPieces("stdout", bytes, sizes))).toBe(bytes.toString("latin1"));
      }),
    );
  });

  test("keeps the lines of streams apart", () => {
    const pieces = [
      { stream: "stdout", bytes: Buffer.from("ERR") },
      { stream: "stderr", bytes: Buffer.from("plain\n  and more\n") },
      { stream: "stdout", bytes: Buffer.from("OR a\n") },
      { stream: "stderr", bytes: Buffer.from("error: b") },
    ];
    expect(filtered("error", pieces)).toBe("ERROR a\nerror: b");
  });

  test("holds no more of an endless line than its beginning, and takes no longer for it", () => {
    const piece = Buffer.alloc(64 * 1024, "x");
    const filter = levelFilter("info");
    filter.write("stdout", Buffer.from("INFO "));
    const started = process.cpuUsage();
    let passed = 0;
    for (let n = 0; n < 1_600; n++) for (const part of filter.write("stdout", piece)) passed += part.length;
    expect(passed).toBe(5 + 1_600 * piece.length);
    // Its own time, and not what other processes take.
    expect(process.cpuUsage(started).user).toBeLessThan(1_000_000);
  });
});
