import { messageOf } from "#lib/domain/errors.ts";
import type { Log } from "#lib/domain/log.ts";
import { type ProtocolRange, protocolTrouble } from "#lib/domain/protocol.ts";
import { isMismatch } from "#lib/db/protocol.ts";

/** How a process ends that its database no longer works with; supervisors and people tell it from a crash. */
export const MISMATCH_EXIT_CODE = 78;

/** A rolling upgrade may put things right; tasks that end meanwhile have their results handed in again and again. */
const DEADLINE_MS = 60_000;

const RANGE = "protocol";

/**
 * Keeps a process from work that its database would not understand. While there is trouble it claims nothing, but renews
 * its leases and hands results in again; when the trouble does not end in time, the process does.
 */
export type ProtocolGuard = {
  /** What this process and its database disagree about; undefined while they agree. */
  trouble(): string | undefined;
  /** The deadline has passed: what still waits for the database is given up. */
  isOver(): boolean;
  /** Hears which protocols the database takes. */
  check(range: ProtocolRange): void;
  /** Hears of a failed call to one of the database's functions. */
  failed(call: string, error: unknown): void;
  /** Hears that a call has worked. */
  worked(call: string): void;
  /** Does a loop's work, and hears how it went; not while the database does not take this program's protocol at all. */
  guarding<T>(call: string, work: () => Promise<T>): Promise<T>;
  /** Nothing is awaited any more. */
  stop(): void;
};

export function createProtocolGuard(options: {
  log: Log;
  /** Called once, when the deadline has passed. */
  onOver: () => void;
  deadlineMs?: number;
}): ProtocolGuard {
  const { log, onOver, deadlineMs = DEADLINE_MS } = options;
  const troubles = new Map<string, string>();
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;

  const trouble = (): string | undefined => troubles.values().next().value;

  const add = (key: string, text: string): void => {
    if (troubles.get(key) === text) return;
    troubles.set(key, text);
    log.error({ reason: text, exitsInMs: deadlineMs }, "the database and this program do not fit; claiming nothing");
    timer ??= setTimeout(() => {
      isOver = true;
      log.fatal({ reason: trouble() }, "the database and this program still do not fit; this process exits");
      onOver();
    }, deadlineMs);
  };

  const remove = (key: string): void => {
    if (!troubles.delete(key) || troubles.size > 0 || isOver) return;
    clearTimeout(timer);
    timer = undefined;
    log.info({}, "the database and this program fit again");
  };

  const failed = (call: string, error: unknown): void => {
    if (isMismatch(error)) add(call, `${call}: ${messageOf(error)}`);
  };

  return {
    trouble,
    isOver: () => isOver,
    check(range) {
      const text = protocolTrouble(range);
      if (text === undefined) remove(RANGE);
      else add(RANGE, text);
    },
    failed,
    worked: remove,
    async guarding(call, work) {
      const refusal = troubles.get(RANGE);
      if (refusal !== undefined) throw new Error(refusal);
      try {
        const result = await work();
        remove(call);
        return result;
      } catch (error) {
        failed(call, error);
        throw error;
      }
    },
    stop: () => clearTimeout(timer),
  };
}

/** Ends this process in order, with the exit code that tells of a mismatch. */
export function stopOnMismatch(): void {
  process.exitCode = MISMATCH_EXIT_CODE;
  process.kill(process.pid, "SIGTERM");
}
