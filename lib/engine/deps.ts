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
};
