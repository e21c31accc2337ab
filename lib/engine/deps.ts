import type pg from "pg";
import type { Notifier } from "#lib/db/notify.ts";
import type { VersionGraph } from "#lib/db/run-states.ts";
import { createTaskClassCache, type TaskClassCache } from "#lib/db/task-classes.ts";
import type { LogStore } from "#lib/db/task-logs.ts";
import type { Log } from "#lib/domain/log.ts";
import type { JobQueue } from "#lib/queue/job-queue.ts";
import { createLruCache, type LruCache } from "./cache.ts";
import { type Coalesce, createCoalesce } from "./coalesce.ts";
import type { RunTemplate } from "./run-template.ts";

/** What a process brings for the engine to work with. */
export type EngineParts = {
  pool: pg.Pool;
  /** Address of the database for what needs a session of its own. */
  sessionUrl: string;
  queue: JobQueue;
  notifier: Notifier;
  logs: LogStore;
  log: Log;
  /** A new, unguessable UUID: the token that fences one claim. */
  newToken: () => string;
  /** How this process has admission pass: see `EngineDeps.requestAdmission`. */
  requestPass: (deps: EngineDeps) => Promise<unknown>;
};

/** What every engine use case is handed. Built once per process by `createEngineDeps`. */
export type EngineDeps = EngineParts & {
  /**
   * Asks for a full pass of admission, after the commit that made tasks ready or freed what tasks wait
   * for. Schedulers and tests run the pass at once and resolve after it; other processes announce it. It
   * never fails: a scheduler's regular pass is the net.
   */
  requestAdmission: () => Promise<void>;
  /** Shares passes of this process: see `createCoalesce`. */
  coalesce: Coalesce;
  caches: {
    /** Of versions, which never change. A few only: a large graph takes megabytes. */
    graphs: LruCache<VersionGraph>;
    /** By DAG, what its runs were last started from; the insert itself checks that it is still current. */
    templates: LruCache<RunTemplate>;
    /** Of task classes: what never changes, and how they stand for admission. */
    classes: TaskClassCache;
  };
};

const MAX_GRAPHS = 32;
const MAX_TEMPLATES = 1_000;

export function createEngineDeps(parts: EngineParts): EngineDeps {
  const deps: EngineDeps = {
    ...parts,
    requestAdmission: async () => void (await parts.requestPass(deps)),
    coalesce: createCoalesce(),
    caches: {
      graphs: createLruCache(MAX_GRAPHS),
      templates: createLruCache(MAX_TEMPLATES),
      classes: createTaskClassCache(),
    },
  };
  return deps;
}
