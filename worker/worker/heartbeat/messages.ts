import type { WorkerRef } from "#lib/db/claims.ts";
import type { Heartbeat } from "#lib/db/workers.ts";
import type { Clocks } from "./clocks.ts";

/** What the worker holds and has leases for. */
export type Attempts = readonly { taskInstanceId: string; token: string }[];

export type ThreadData = { url: string; worker: WorkerRef; clocks: Clocks; beatMs: number };

/** With an id it is answered, after a beat; without one it only says what there is to renew. */
export type Question = { id?: number; attempts: Attempts };

export type Answer = { id: number } & ({ beat: Heartbeat } | { error: string });
