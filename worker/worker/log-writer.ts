import { runIdOf } from "#lib/domain/ids.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { Claimed } from "#lib/db/claims.ts";
import { isRefused } from "#lib/db/database-errors.ts";
import type { LogChunk, LogLoss, LogStream } from "#lib/db/task-logs.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";

/**
 * Output waits so long to be written together with what follows; readers see it within a second.
 */
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

/**
 * A chunk that may still grow: a program that writes a line each millisecond makes no row of each.
 */
type Growing = Omit<LogChunk, "bytes"> & { parts: Buffer[]; size: number; isTaken: boolean };

/**
 * Output that was given up. Its notice takes its place in the log; `isTold` there, `isRecorded`
 * beside the attempt.
 */
type Loss = LogLoss & { token: string; isTold: boolean; isRecorded: boolean };

export type LogWriterOptions = {
  /** Kept of each attempt; the rest is cut off. */
  maxBytes: number;
  /** Called when output was given up, with how much. */
  onLost?: (bytes: number) => void;
  maxFailures?: number;
};

/**
 * Gathers the output of all attempts and stores it in batches, in order. What the database refuses
 * again and again is given up, and makes itself known: in the attempt's log at its place, beside
 * the attempt, as an event, in the worker's own log and by `onLost`.
 */
export function createLogWriter(deps: EngineDeps, options: LogWriterOptions): LogWriter {
  const { maxBytes, onLost = () => undefined, maxFailures = MAX_FAILURES } = options;
  let pending: Growing[] = [];
  let pendingBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let flushing: Promise<void> = Promise.resolve();
  /** Those that are not told and recorded yet. */
  let losses: Loss[] = [];

  /**
   * Returns whether `work` succeeded at last. What the database refuses for its values is refused
   * again: it is not tried again, because the output of every other attempt waits behind it.
   */
  const persist = async (work: () => Promise<void>, failing: string): Promise<boolean> => {
    for (let failures = 0; failures < maxFailures; failures++) {
      try {
        await work();
        return true;
      } catch (error) {
        if (isRefused(error)) return false;
        deps.log.warn({ error: messageOf(error) }, `${failing}; trying again`);
        await new Promise((resolve) => setTimeout(resolve, FLUSH_MS * 2 ** Math.min(failures, 5)));
      }
    }
    return false;
  };

  /**
   * Stores chunks behind the notices of what is missing before them, so that whoever follows the
   * log reads them in order.
   */
  const append = async (chunks: readonly LogChunk[]): Promise<void> => {
    const untold = losses.filter(({ isTold }) => !isTold);
    const all = [...untold.map(notice), ...chunks];
    if (all.length === 0) return;
    await deps.logs.append(all);
    for (const loss of untold) loss.isTold = true;
    deps.notifier.announce(
      "sluice_runs",
      all.map((chunk) => runIdOf(chunk.taskInstanceId)),
    );
  };

  const record = async (): Promise<void> => {
    const unrecorded = losses.filter(({ isRecorded }) => !isRecorded);
    if (unrecorded.length > 0) await deps.logs.recordLosses(unrecorded);
    for (const loss of unrecorded) loss.isRecorded = true;
    losses = losses.filter(({ isTold, isRecorded }) => !isTold || !isRecorded);
  };

  const giveUp = (chunks: readonly LogChunk[]): void => {
    for (const [token, [first, ...more]] of Map.groupBy(chunks, (chunk) => chunk.token)) {
      const { taskInstanceId, number, seq } = first!;
      const bytes = more.reduce((total, chunk) => total + chunk.bytes.length, first!.bytes.length);
      const before = losses.find((loss) => loss.token === token && !loss.isTold);
      if (before === undefined)
        losses.push({ taskInstanceId, number, token, seq, bytes, isTold: false, isRecorded: false });
      else Object.assign(before, { bytes: before.bytes + bytes, isRecorded: false });
      onLost(bytes);
      deps.log.error(
        { taskInstanceId, attempt: number, bytes },
        "task output is lost: the database refused it too often",
      );
    }
  };

  const store = async (chunks: readonly LogChunk[]): Promise<void> => {
    if (!(await persist(() => append(chunks), "task output could not be stored"))) {
      // What is wrong may be wrong with one attempt's output only.
      for (const some of Map.groupBy(chunks, (chunk) => chunk.token).values())
        await append(some).catch(() => giveUp(some));
    }
    // Tried again when more is stored, and at the attempt's end.
    if (losses.length > 0) await record().catch(() => undefined);
  };

  /**
   * Before an attempt's end is handed in: its log and the database say what is missing, or it is
   * only in the worker's log.
   */
  const tell = async (token: string): Promise<void> => {
    if (!losses.some((loss) => loss.token === token)) return;
    await persist(() => append([]), "a notice of lost output could not be stored");
    if (await persist(record, "lost output could not be recorded")) return;
    deps.log.error({ losses }, "lost output could not be recorded");
    losses = losses.filter((loss) => loss.token !== token);
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
        async stored() {
          if (seq === first) return;
          await flush();
          flushing = flushing.then(() => tell(token));
          await flushing;
        },
        written: () => total - before,
      };
    },
  };
}

/** Takes the place of the first chunk that was given up. */
function notice({ taskInstanceId, number, token, seq, bytes }: Loss): LogChunk {
  const text = `\n[${bytes} bytes of output are missing here: the database did not store them]\n`;
  return { taskInstanceId, number, token, seq, stream: "system", bytes: Buffer.from(text) };
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
