import { runIdOf } from "#lib/domain/ids.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { type Continued, type Finish, type Finished, finishRunning } from "#lib/db/finishes.ts";
import { retried } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { type Effects, effects } from "./effects.ts";
import { followUp } from "./follow-up.ts";
import { LEASE_MS } from "./lease.ts";

/**
 * Ends a batch of running attempts. Returns the task instances whose end was accepted; one that is missing was
 * fenced: its token is no longer the live one, its result is dropped, and that is a normal outcome. Returns when
 * what the ends made possible has been carried out.
 */
export async function finish(deps: EngineDeps, batch: readonly Finish[], actor: string): Promise<string[]> {
  const finished = await end(deps, batch, actor);
  const effects = effectsOf(finished);
  await followUp(deps, { ...effects, wantsAdmission: effects.wantsAdmission || finished.claimable.length > 0 });
  return finished.accepted;
}

export type Ended = {
  accepted: ReadonlySet<string>;
  /** Nothing was done with these: their runs were locked. The caller sends them again after a while. */
  busy: ReadonlySet<string>;
  /** What the worker continues with, claimed already, by the task instance whose slot it has. */
  continued: ReadonlyMap<string, Continued>;
  /** Lanes, by name, in which the worker may claim what waits for the slots that fell free: no pass was asked for these. */
  claimable: readonly string[];
};

/**
 * The same for a worker, which must not wait for others' tasks: returns at the commit, with the children it
 * continues with. The rest follows in the background; when it fails the schedulers' loops are the net.
 */
export async function finishAndContinue(deps: EngineDeps, batch: readonly Finish[], actor: string): Promise<Ended> {
  const finished = await end(deps, batch, actor);
  followUp(deps, effectsOf(finished)).catch((error: unknown) => {
    deps.log.warn({ error: messageOf(error) }, "follow-up of completed attempts failed; a scheduler will retry");
  });
  const { accepted, busy, continued, claimable } = finished;
  return { accepted: new Set(accepted), busy: new Set(busy), continued, claimable };
}

function end(deps: EngineDeps, batch: readonly Finish[], actor: string): Promise<Finished> {
  return retried(() => finishRunning(deps.pool, batch, actor, LEASE_MS));
}

function effectsOf({ accepted, unsettledRuns, dagsWithRoom, backfills, ...flags }: Finished): Effects {
  return effects({
    changedRuns: [...new Set(accepted.map(runIdOf))],
    unsettledRuns,
    dagsWithRoom,
    backfills,
    lanes: flags.lanes,
    wantsAdmission: flags.callsForAdmission,
    hasCallbacks: flags.hasCallbacks,
  });
}
