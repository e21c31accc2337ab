import type { Mask, MaskStream } from "#lib/domain/secrets/mask.ts";
import type { Outcome, Stream } from "#lib/executors/executor.ts";

type Write = (stream: Stream, bytes: Buffer) => Promise<void>;

/** Hands output on with its secrets masked, each stream by itself. `end` writes what may have become one and has not. */
export function maskedOutput(mask: Mask, write: Write): { write: Write; end(): Promise<void> } {
  const streams = new Map<Stream, MaskStream>();
  const streamOf = (stream: Stream): MaskStream => {
    const known = streams.get(stream) ?? mask.stream();
    streams.set(stream, known);
    return known;
  };
  const pass = async (stream: Stream, bytes: Buffer): Promise<void> => {
    if (bytes.length > 0) await write(stream, bytes);
  };
  return {
    write: (stream, bytes) => pass(stream, streamOf(stream).write(bytes)),
    async end() {
      await Promise.all([...streams].map(([stream, masked]) => pass(stream, masked.end())));
    },
  };
}

/** How an attempt ended, without secrets in what is kept of it. */
export function maskedOutcome(mask: Mask, outcome: Outcome): Outcome {
  if (outcome.kind === "failed") return { ...outcome, error: mask.text(outcome.error) };
  if (outcome.kind === "deferred") return { ...outcome, reason: mask.text(outcome.reason) };
  if (outcome.kind === "success") {
    const pushed = outcome.pushed && Object.entries(outcome.pushed).map(([key, value]) => [key, mask.json(value)]);
    return {
      ...outcome,
      output: mask.json(outcome.output),
      ...(pushed && { pushed: Object.fromEntries(pushed) as Record<string, unknown> }),
    };
  }
  return outcome;
}
