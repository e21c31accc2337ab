import { admitRunsAtOnce } from "#lib/db/admission.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { EngineDeps } from "./deps.ts";

/** Beyond so many runs at once a full pass is cheaper. */
const MAX_RUNS = 10;

/**
 * Admits what runs have ready that were just started, where that needs no full pass; returns whether one is wanted for the rest. In
 * a statement of its own after the commit that started them, so that no client keeps the admission lock.
 */
export async function admitStarted(deps: EngineDeps, runIds: readonly string[]): Promise<boolean> {
  if (runIds.length === 0 || runIds.length > MAX_RUNS) return runIds.length > 0;
  try {
    const { again, lanes } = await admitRunsAtOnce(deps.pool, runIds);
    deps.notifier.announce("sluice_tasks", lanes);
    return again;
  } catch (error) {
    deps.log.warn({ error: messageOf(error) }, "tasks could not be admitted at once; a full pass is asked for");
    return true;
  }
}
