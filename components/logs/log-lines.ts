import type { LogChunk } from "#lib/contract/task-instances.ts";

export type Stream = LogChunk["stream"];
export type LogLine = { number: number; stream: Stream; text: string; closed: boolean };
export type LogLines = { lines: readonly LogLine[]; total: number };

/** Lines kept on the page; the whole log is one click away. */
export const MAX_LINES = 5_000;

export const NO_LINES: LogLines = { lines: [], total: 0 };

/** The lines after some more output. Streams interleave by chunk, so each has its own unfinished line. */
export function appendChunks({ lines, total }: LogLines, chunks: readonly LogChunk[]): LogLines {
  const next = [...lines];
  let count = total;
  for (const { stream, text } of chunks) {
    const parts = text.split("\n");
    parts.forEach((part, index) => {
      const closed = index < parts.length - 1;
      if (part === "" && !closed) return;
      const open = next.findLastIndex((line) => line.stream === stream);
      const line = next[open];
      if (line !== undefined && !line.closed) {
        next[open] = { ...line, text: line.text + part, closed };
        return;
      }
      count++;
      next.push({ number: count, stream, text: part, closed });
    });
  }
  return { lines: next.slice(-MAX_LINES), total: count };
}
