import { HEAD_LENGTH, isAtLeast, levelBelow } from "./level.ts";
import type { LogLevel } from "./level-words.ts";

const NEWLINE = 10;
/** Of a line whose end is not there yet: as many bytes as the head of a line may have in UTF-8. */
const HEAD_BYTES = HEAD_LENGTH * 4;

export type LevelFilter = {
  /** What passes of some more output, byte for byte; the beginning of a line is held back until its level is known. */
  write(stream: string, bytes: Uint8Array): Uint8Array[];
  /** What was held back at the end, and passes. */
  end(): Uint8Array[];
};

/** One stream's unfinished line: its beginning until it is decided, then whether it passes. */
type Line = { held: Uint8Array[]; heldBytes: number; passes: boolean | undefined; above: LogLevel | undefined };

/** Lets the lines through that are at least as grave as `least`. Streams have lines of their own. */
export function levelFilter(least: LogLevel): LevelFilter {
  const streams = new Map<string, Line>();

  const decided = (line: Line): Uint8Array[] => {
    const held = joined(line.held, line.heldBytes);
    const head = new TextDecoder().decode(held.subarray(0, HEAD_BYTES)).replace(/\n$/, "");
    line.above = levelBelow(line.above, head);
    line.passes = isAtLeast(line.above, least);
    line.held = [];
    line.heldBytes = 0;
    return line.passes && held.length > 0 ? [held] : [];
  };

  /** A piece that lies within one line; `isEnd` when the line ends with it. */
  const take = (line: Line, piece: Uint8Array, isEnd: boolean): Uint8Array[] => {
    let passing: Uint8Array[] = [];
    if (line.passes === undefined) {
      line.held.push(piece);
      line.heldBytes += piece.length;
      if (isEnd || line.heldBytes >= HEAD_BYTES) passing = decided(line);
    } else if (line.passes) passing = [piece];
    if (isEnd) line.passes = undefined;
    return passing;
  };

  return {
    write(stream, bytes) {
      const line = streams.get(stream) ?? { held: [], heldBytes: 0, passes: undefined, above: undefined };
      streams.set(stream, line);
      const passing: Uint8Array[] = [];
      for (let from = 0; from < bytes.length;) {
        const newline = bytes.indexOf(NEWLINE, from);
        const to = newline < 0 ? bytes.length : newline + 1;
        passing.push(...take(line, bytes.subarray(from, to), newline >= 0));
        from = to;
      }
      return passing;
    },
    end: () => [...streams.values()].flatMap((line) => (line.heldBytes > 0 ? decided(line) : [])),
  };
}

function joined(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
