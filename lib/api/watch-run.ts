import type { Actor } from "#lib/auth/authenticate.ts";
import { setTimeout as delay } from "node:timers/promises";
import type { WebDeps } from "#lib/boot.ts";
import type { RunSnapshot } from "#lib/contract/dag-runs.ts";
import { findRun, listRunTasks } from "#lib/db/run-reads.ts";
import type { Db } from "#lib/db/pool.ts";
import { isFinalRunState } from "#lib/domain/states.ts";
import { runDifference } from "./run-difference.ts";
import { runWake } from "./run-wake.ts";
import { eventStream, type Send } from "./sse.ts";

/** Changes that come closer together than this are read and sent as one. */
const MIN_INTERVAL_MS = 50;
/** A notice can be lost; looking this often is the floor. */
const POLL_MS = 2_000;

/** A run's live state: all of it once, then what changes, until the run has ended. */
export function watchRun(deps: WebDeps, runId: string, signal: AbortSignal, actor: Actor): Response {
  return eventStream([signal, deps.changes.closing], actor.stillAllowed, async (send, stop) => {
    // Subscribed before the first read, so that no change falls between the two.
    const wake = runWake(deps.changes, runId, stop);
    try {
      await sendUntilFinal(deps.engine.pool, runId, send, stop, wake.next);
    } finally {
      wake.stop();
    }
  });
}

async function sendUntilFinal(
  db: Db,
  runId: string,
  send: Send,
  stop: AbortSignal,
  nextChange: (maxMs: number) => Promise<void>,
): Promise<void> {
  let sent: RunSnapshot | undefined;
  while (!stop.aborted) {
    const startedMs = performance.now();
    const now = await readSnapshot(db, runId);
    if (now === undefined) return;
    const change = sent === undefined ? undefined : runDifference(sent, now);
    if (sent === undefined) await send({ event: "snapshot", data: now });
    else if (change !== undefined) await send({ event: "change", data: change });
    // An action may let a run go on that has ended.
    if (isFinalRunState(now.run.state) && now.run.action === null) return;
    sent = now;
    // A run of many thousand tasks takes long to read; reading may use a fifth of the time, not all of it.
    const restMs = Math.max(MIN_INTERVAL_MS, 4 * (performance.now() - startedMs));
    await delay(restMs, undefined, { signal: stop }).catch(() => undefined);
    await nextChange(POLL_MS);
  }
}

/** The run is read first: when it says final, the tasks read after it are final too. */
async function readSnapshot(db: Db, runId: string): Promise<RunSnapshot | undefined> {
  const run = await findRun(db, runId);
  return run === undefined ? undefined : { run, tasks: await listRunTasks(db, runId) };
}
