import type { LogChunk } from "#lib/contract/task-instances.ts";

type Bytes = { seq: number; stream: LogChunk["stream"]; at: string; chunk: Uint8Array };

/**
 * Chunks as text. A character whose bytes are split over two chunks comes whole with the second one, so the
 * streams, which interleave, are decoded apart.
 */
export function logDecoder(): (row: Bytes) => LogChunk {
  const decoders = new Map<string, TextDecoder>();
  return ({ chunk, ...rest }) => {
    const decoder = decoders.get(rest.stream) ?? new TextDecoder("utf-8", { ignoreBOM: true });
    decoders.set(rest.stream, decoder);
    return { ...rest, text: decoder.decode(chunk, { stream: true }) };
  };
}
