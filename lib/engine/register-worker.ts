import type { WorkerRef } from "#lib/db/claims.ts";
import { upsertWorker, type WorkerRegistration } from "#lib/db/workers.ts";
import { laneName, lanesOf, ownName } from "#lib/domain/lanes.ts";
import type { EngineDeps } from "./deps.ts";
import { effects } from "./effects.ts";
import { followUp } from "./follow-up.ts";
import { LEASE_MS } from "./lease.ts";
import { takeOverFromPredecessors } from "./sweep.ts";

/** Enters the worker under its name; what an earlier process of that name was running is made ready again. */
export async function registerWorker(deps: EngineDeps, registration: WorkerRegistration): Promise<WorkerRef> {
  await deps.queue.bells.make([...lanesOf(registration.queues).map(laneName), ownName(registration.id)]);
  const worker = await upsertWorker(deps.pool, registration, LEASE_MS);
  await takeOverFromPredecessors(deps, worker);
  await followUp(deps, effects({ wantsAdmission: true }));
  return worker;
}
