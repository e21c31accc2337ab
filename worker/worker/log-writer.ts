import { runIdOf } from "#lib/domain/ids.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { insertLogChunks, type LogChunk, type LogStream } from "#lib/db/task-logs.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";

/** Output waits so long to be written together with what follows; readers see it within a second. */
const FLUSH_MS = 100;
const MAX_CHUNK_BYTES = 64 * 1024;
/** Bytes of log kept per attempt; the rest is dropped with a mark. */
const LOG_CAP_BYTES = 64 * 1024 * 1024;
const MAX_FAILURES = 50;

/** Bytes in one INSERT; they travel as text of twice the size. */
const MAX_INSERT_BYTES = 4 * 1024 * 1024;
/** Bytes held for all attempts together; beyond it, whoever writes waits. */
const MAX_PENDING_BYTES = 32 * 1024 * 1024;

export type AttemptLog = {
  /** Resolves when more may be written: at once, but for a database that cannot keep up. */
  write(stream: LogStream, bytes: Buffer): Promise<void>;
  /** Resolves when everything written before the call is stored (or its attempt is fenced). */
  stored(): Promise<void>;
};

export type LogWriter = {
  open(attempt: { taskInstanceId: string; number: number; token: string }): AttemptLog;
};

/** Gathers the output of all attempts and stores it in batches, in order. */
export function createLogWriter(deps: EngineDeps): LogWriter {
  let pending: LogChunk[] = [];
  let pendingBytes = 0;
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
    deps.log.error({ chunks: chunks.length }, "task output was given up: the database refused it too often");
  };

  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    for (const chunks of batches(pending)) {
      flushing = flushing
        .then(() => store(chunks))
        .then(() => {
          pendingBytes -= sizeOf(chunks);
        });
    }
    pending = [];
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
        pendingBytes += bytes.length;
        timer ??= setTimeout(() => void flush(), FLUSH_MS);
      };
      return {
        async write(stream, bytes) {
          if (total >= LOG_CAP_BYTES) return;
          const kept = bytes.subarray(0, LOG_CAP_BYTES - total);
          total += kept.length;
          push(stream, kept);
          if (total >= LOG_CAP_BYTES)
            push("system", Buffer.from(`\n[log cut here: ${LOG_CAP_BYTES} bytes are kept]\n`));
          if (pendingBytes > MAX_PENDING_BYTES) await flush();
        },
        // Nothing of one's own is nothing to wait for, whatever others have written.
        stored: () => (seq === 0 ? Promise.resolve() : flush()),
      };
    },
  };
}

function sizeOf(chunks: readonly LogChunk[]): number {
  return chunks.reduce((total, chunk) => total + chunk.bytes.length, 0);
}

/** Consecutive chunks in as few batches as an INSERT's size allows. */
function batches(chunks: readonly LogChunk[]): LogChunk[][] {
  const result: LogChunk[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const chunk of chunks) {
    if (size + chunk.bytes.length > MAX_INSERT_BYTES) {
      result.push([]);
      size = 0;
    }
    result.at(-1)!.push(chunk);
    size += chunk.bytes.length;
  }
  return result;
}
