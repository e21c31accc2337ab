import type { Logger } from "pino";
import type pg from "pg";
import type { TaskQueue } from "#lib/queue/task-queue.ts";
import type { Notifier } from "#lib/db/notify.ts";

/** What every engine use case is handed. Built once per process, in `lib/boot.ts`. */
export type EngineDeps = {
  pool: pg.Pool;
  queue: TaskQueue;
  notifier: Notifier;
  log: Logger;
};
