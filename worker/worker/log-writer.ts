import { runIdOf } from "#lib/domain/ids.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { insertLogChunks, type LogChunk, type LogStream } from "#lib/db/task-logs.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";

/** Output waits so long to be written together with what follows; readers see it within a second. */
const FLUSH_MS = 100;
const MAX_CHUNK_BYTES = 64 * 1024;
/** Bytes of log kept per attempt; the rest is dropped with a mark. */
export const LOG_CAP_BYTES = 64 * 1024 * 1024;
const MAX_FAILURES = 50;

export type AttemptLog = {
  write(stream: LogStream, bytes: Buffer): void;
};

export type LogWriter = {
  open(attempt: { taskInstanceId: string; number: number; token: string }): AttemptLog;
  /** Resolves when everything written before the call is stored (or its attempt is fenced). */
  flush(): Promise<void>;
};

/** Gathers the output of all attempts and stores it in batches, in order; one statement per flush. */
export function createLogWriter(deps: EngineDeps): LogWriter {
  let pending: LogChunk[] = [];
  let timer: NodeJS.Timeout | undefined;
  let flushing: Promise<void> = Promise.resolve();

  const store = async (chunks: LogChunk[]): Promise<void> => {
    for (let failures = 0; failures < MAX_FAILURES; failures++) {
      try {
        await insertLogChunks(deps.pool, chunks);
        deps.notifier.announce(
          "sluice_runs",
          chunks.map((chunk) => runIdOf(chunk.taskInstanceId)),
        );
        return;
      } catch (error) {
        deps.log.warn({ error: messageOf(error) }, "task output could not be stored; trying again");
        await new Promise((resolve) => setTimeout(resolve, FLUSH_MS * 2 ** Math.min(failures, 5)));
      }
    }
  };

  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    if (pending.length > 0) {
      const chunks = pending;
      pending = [];
      flushing = flushing.then(() => store(chunks));
    }
    return flushing;
  };

  return {
    open(attempt) {
      let seq = 0;
      let total = 0;
      const push = (stream: LogStream, bytes: Buffer): void => {
        for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES) {
          pending.push({ ...attempt, seq: seq++, stream, bytes: bytes.subarray(at, at + MAX_CHUNK_BYTES) });
        }
        timer ??= setTimeout(() => void flush(), FLUSH_MS);
      };
      return {
        write(stream, bytes) {
          if (total >= LOG_CAP_BYTES) return;
          const kept = bytes.subarray(0, LOG_CAP_BYTES - total);
          total += kept.length;
          push(stream, kept);
          if (total >= LOG_CAP_BYTES)
            push("system", Buffer.from(`\n[log cut here: ${LOG_CAP_BYTES} bytes are kept]\n`));
        },
      };
    },
    flush,
  };
}
