import { runIdOf } from "#lib/domain/ids.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { Claimed } from "#lib/db/claims.ts";
import type { LogChunk, LogStream } from "#lib/db/task-logs.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";

/** Output waits so long to be written together with what follows; readers see it within a second. */
const FLUSH_MS = 100;
const MAX_CHUNK_BYTES = 64 * 1024;
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
  /** How many bytes were written by this look. */
  written(): number;
};

export type LogWriter = {
  /** The log of an attempt that looks again goes on behind what its earlier looks have written. */
  open(attempt: Pick<Claimed, "taskInstanceId" | "number" | "token" | "look">): AttemptLog;
};

/** A chunk that may still grow: a program that writes a line each millisecond makes no row of each. */
type Growing = Omit<LogChunk, "bytes"> & { parts: Buffer[]; size: number; isTaken: boolean };

/** Gathers the output of all attempts and stores it in batches, in order; `maxBytes` of each attempt. */
export function createLogWriter(deps: EngineDeps, maxBytes: number): LogWriter {
  let pending: Growing[] = [];
  let pendingBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let flushing: Promise<void> = Promise.resolve();

  const store = async (chunks: LogChunk[]): Promise<void> => {
    for (let failures = 0; failures < MAX_FAILURES; failures++) {
      try {
        await deps.logs.append(chunks);
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
    for (const batch of batches(pending)) {
      flushing = flushing
        .then(() => store(batch.map(joined)))
        .then(() => {
          pendingBytes -= batch.reduce((total, { size }) => total + size, 0);
        });
    }
    for (const chunk of pending) chunk.isTaken = true;
    pending = [];
    return flushing;
  };

  return {
    open({ taskInstanceId, number, token, look }) {
      const of = { taskInstanceId, number, token };
      const first = look?.logSeq ?? 0;
      const before = look?.logBytes ?? 0;
      let total = before;
      let seq = first;
      let last: Growing | undefined;
      const push = (stream: LogStream, bytes: Buffer): void => {
        for (let at = 0; at < bytes.length;) {
          if (last === undefined || last.isTaken || last.stream !== stream || last.size === MAX_CHUNK_BYTES) {
            last = { ...of, seq: seq++, stream, parts: [], size: 0, isTaken: false };
            pending.push(last);
          }
          const part = bytes.subarray(at, at + MAX_CHUNK_BYTES - last.size);
          last.parts.push(part);
          last.size += part.length;
          at += part.length;
        }
        pendingBytes += bytes.length;
        timer ??= setTimeout(() => void flush(), FLUSH_MS);
      };
      return {
        async write(stream, bytes) {
          if (total >= maxBytes) return;
          const kept = bytes.subarray(0, maxBytes - total);
          total += kept.length;
          push(stream, kept);
          if (total >= maxBytes) push("system", Buffer.from(`\n[log cut here: ${maxBytes} bytes are kept]\n`));
          if (pendingBytes > MAX_PENDING_BYTES) await flush();
        },
        // Nothing of one's own is nothing to wait for, whatever others have written.
        stored: () => (seq === first ? Promise.resolve() : flush()),
        written: () => total - before,
      };
    },
  };
}

function joined({ parts, size, isTaken: _, ...chunk }: Growing): LogChunk {
  return { ...chunk, bytes: parts.length === 1 ? parts[0]! : Buffer.concat(parts, size) };
}

/** Consecutive chunks in as few batches as an INSERT's size allows. */
function batches(chunks: readonly Growing[]): Growing[][] {
  const result: Growing[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const chunk of chunks) {
    if (size + chunk.size > MAX_INSERT_BYTES) {
      result.push([]);
      size = 0;
    }
    result.at(-1)!.push(chunk);
    size += chunk.size;
  }
  return result;
}
