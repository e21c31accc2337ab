import type { LogChunk } from "#lib/contract/task-instances.ts";
import { lastFormStart } from "#lib/domain/log-lines/ansi.ts";
import { isAtLeast, levelBelow } from "#lib/domain/log-lines/level.ts";
import type { LogLevel } from "#lib/domain/log-lines/level-words.ts";

export type Stream = LogChunk["stream"];
export type LogLine = {
  number: number;
  stream: Stream;
  text: string;
  /** Characters at its end that are not kept here. */
  cut: number;
  closed: boolean;
  level: LogLevel | undefined;
  /** The level of the line above it in its stream, which it may go on with. */
  above: LogLevel | undefined;
};
export type LogLines = {
  lines: readonly LogLine[];
  total: number;
  /** Warnings and errors from before `lines`. */
  earlier: readonly LogLine[];
};

/** Lines kept on the page; the whole log is one click away. */
export const MAX_LINES = 5_000;
/** Of the lines before these, so that a filter finds what went wrong first. */
export const MAX_EARLIER = 1_000;
/** Characters of a line that are shown; a line may be as long as the log. */
export const MAX_LENGTH = 10_000;

export const NO_LINES: LogLines = { lines: [], total: 0, earlier: [] };

/** The lines after some more output. Streams interleave by chunk, so each has its own unfinished line. */
export function appendChunks({ lines, total, earlier }: LogLines, chunks: readonly LogChunk[]): LogLines {
  const next = [...lines];
  let count = total;
  for (const { stream, text } of chunks) {
    const parts = text.split("\n");
    parts.forEach((part, index) => {
      const closed = index < parts.length - 1;
      if (part === "" && !closed) return;
      const last = next.findLastIndex((line) => line.stream === stream);
      const line = next[last];
      if (line !== undefined && !line.closed) {
        next[last] = { ...extended(line, part), closed };
        return;
      }
      count++;
      const above = line?.level;
      const empty = { number: count, stream, text: "", cut: 0, closed, level: undefined, above };
      next.push(extended(empty, part));
    });
  }
  const dropped = next.slice(0, -MAX_LINES).filter(({ level }) => isAtLeast(level, "warn"));
  return {
    lines: next.slice(-MAX_LINES),
    total: count,
    earlier: dropped.length === 0 ? earlier : [...earlier, ...dropped].slice(-MAX_EARLIER),
  };
}

/** The line with some more text, from its last return on: what is before will not be seen again. */
function extended(line: LogLine, part: string): LogLine {
  const known = line.text + part;
  const start = lastFormStart(known);
  const whole = known.slice(start);
  const before = start > line.text.length ? 0 : line.cut;
  const text = whole.slice(0, MAX_LENGTH);
  const level = line.stream === "system" ? undefined : levelBelow(line.above, text);
  return { ...line, text, cut: before + whole.length - text.length, level };
}

/** How many of the lines that are here are warnings, and how many are errors. */
export function countGrave({ lines, earlier }: LogLines): { warn: number; error: number } {
  const counts = { warn: 0, error: 0 };
  for (const { level } of [...earlier, ...lines]) if (level === "warn" || level === "error") counts[level]++;
  return counts;
}

/** The lines to show that are at least as grave; without a level, all. */
export function linesAtLeast({ lines, earlier }: LogLines, least: LogLevel | undefined): readonly LogLine[] {
  if (least === undefined || least === "debug") return lines;
  const all = least === "info" ? lines : [...earlier, ...lines];
  return all.filter(({ level }) => isAtLeast(level, least));
}
