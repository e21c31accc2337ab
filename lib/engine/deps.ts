import type pg from "pg";
import type { Notifier } from "#lib/db/notify.ts";
import type { LogStore } from "#lib/db/task-logs.ts";
import type { Log } from "#lib/domain/log.ts";
import type { TaskQueue } from "#lib/queue/task-queue.ts";

/** What every engine use case is handed. Built once per process, in `lib/boot.ts`. */
export type EngineDeps = {
  pool: pg.Pool;
  queue: TaskQueue;
  notifier: Notifier;
  logs: LogStore;
  log: Log;
  /** A new, unguessable UUID: the token that fences one claim. */
  newToken: () => string;
  /**
   * Asks for a full pass of admission after the commit that made tasks ready or freed slots that tasks wait for. Schedulers and
   * tests run it at once and resolve after it; other processes announce it. It never fails: a scheduler's regular pass is the net.
   */
  requestAdmission: () => Promise<void>;
};
