import type { LogChunk } from "#lib/contract/task-instances.ts";

type Bytes = { seq: number; stream: LogChunk["stream"]; at: string; chunk: Uint8Array };

export type LogDecoder = {
  text(row: Bytes): LogChunk;
  /** What the streams ended with that is half a character, as chunks behind the last one. */
  end(): LogChunk[];
};

/**
 * Chunks as text. A character whose bytes are split over two chunks comes whole with the second one, so the
 * streams, which interleave, are decoded apart. Bytes that are no text are shown as U+FFFD.
 */
export function logDecoder(): LogDecoder {
  const decoders = new Map<string, TextDecoder>();
  let last: Omit<LogChunk, "text" | "stream"> | undefined;
  return {
    text({ chunk, ...rest }) {
      const decoder = decoders.get(rest.stream) ?? new TextDecoder("utf-8", { ignoreBOM: true });
      decoders.set(rest.stream, decoder);
      last = { seq: rest.seq, at: rest.at };
      return { ...rest, text: decoder.decode(chunk, { stream: true }) };
    },
    end() {
      const rests = [...decoders].map(([stream, decoder]) => ({
        stream: stream as LogChunk["stream"],
        text: decoder.decode(),
      }));
      return rests
        .filter(({ text }) => text !== "")
        .map((rest, index) => ({ ...rest, seq: last!.seq + 1 + index, at: last!.at }));
    },
  };
}
