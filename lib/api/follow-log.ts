import type { Actor } from "#lib/auth/authenticate.ts";
import type { WebDeps } from "#lib/boot.ts";
import type { Attempt, LogEnd } from "#lib/contract/task-instances.ts";
import { listAttempts } from "#lib/db/attempt-reads.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { Db } from "#lib/db/pool.ts";
import { findTaskInstance } from "#lib/db/run-reads.ts";
import { isFinalTaskState } from "#lib/domain/states.ts";
import { logDecoder } from "./log-decoder.ts";
import { runWake } from "./run-wake.ts";
import { eventStream, type Send } from "./sse.ts";

type Followed = { taskInstanceId: string; runId: string; number: number; afterSeq: number };

/** Log chunks are announced too, but a lost notice must not show. */
const POLL_MS = 500;
/** Read again after a reconnect, unsent: they hold the first bytes of a character that was split there. */
const REREAD_CHUNKS = 16;

/** An attempt's log as it grows: `chunk` events, then `end` once the attempt has ended. */
export function followLog(deps: WebDeps, followed: Followed, signal: AbortSignal, actor: Actor): Response {
  return eventStream([signal, deps.changes.closing], actor.stillAllowed, async (send, stop) => {
    const wake = runWake(deps.changes, followed.runId, stop);
    try {
      await sendUntilEnd(deps.engine, followed, send, stop, wake.next);
    } finally {
      wake.stop();
    }
  });
}

async function sendUntilEnd(
  { pool: db, logs }: EngineDeps,
  followed: Followed,
  send: Send,
  stop: AbortSignal,
  nextChange: (maxMs: number) => Promise<void>,
): Promise<void> {
  const decoder = logDecoder();
  let seq = Math.max(-1, followed.afterSeq - REREAD_CHUNKS);
  while (!stop.aborted) {
    // Asked before the read: an ended attempt writes nothing more, so this read then has the rest.
    const end = await endOf(db, followed);
    for (;;) {
      const rows = await logs.read(followed, seq);
      if (rows.length === 0 || stop.aborted) break;
      for (const row of rows) {
        const chunk = decoder.text(row);
        seq = row.seq;
        if (seq > followed.afterSeq) await send({ event: "chunk", data: chunk, id: String(seq) });
      }
    }
    if (end !== undefined) {
      for (const chunk of decoder.end()) await send({ event: "chunk", data: chunk });
      return send({ event: "end", data: end });
    }
    await nextChange(POLL_MS);
  }
}

/** Undefined while the attempt can still write. */
async function endOf(db: Db, { taskInstanceId, number }: Followed): Promise<LogEnd | undefined> {
  const task = await findTaskInstance(db, taskInstanceId);
  const attempt = (await listAttempts(db, taskInstanceId)).find((candidate) => candidate.number === number);
  if (attempt !== undefined) return hasEnded(attempt) ? { attempt } : undefined;
  const never = task === undefined || isFinalTaskState(task.state) || number < task.attempt;
  return never ? { attempt: null } : undefined;
}

function hasEnded(attempt: Attempt): boolean {
  return attempt.endedAt !== null;
}
