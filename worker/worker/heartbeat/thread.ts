/**
 * Renews the leases of a worker from a thread of its own, so that nothing which keeps the worker's event loop busy can
 * cost it its attempts. And when that loop does not come back, this ends the process, and its spawner what it ran: an
 * attempt must not go on when its lease is over.
 */
import { writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { createPool } from "#lib/db/pool.ts";
import { renewLeases } from "#lib/db/workers.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { LEASE_MS } from "#lib/engine/lease.ts";
import { setConfirmed } from "./clocks.ts";
import type { Answer, Attempts, Question, ThreadData } from "./messages.ts";
import { createWatch } from "./watch.ts";

const LOOKS_PER_BEAT = 5;
/** A server that does not answer: the next try is on a new connection, and there is time for two before the fence. */
const QUERY_TIMEOUT_MS = 6_000;

const { url, worker, clocks, beatMs } = workerData as ThreadData;
const lookMs = beatMs / LOOKS_PER_BEAT;
const port = parentPort!;
const pool = createPool({ url, max: 1, name: "heartbeat", queryTimeoutMs: QUERY_TIMEOUT_MS });
const watch = createWatch(clocks);
let attempts: Attempts = [];
let lastAt = performance.now();

async function beat(): Promise<Awaited<ReturnType<typeof renewLeases>>> {
  lastAt = performance.now();
  const sentAt = process.hrtime.bigint();
  const answer = await renewLeases(pool, worker, attempts, LEASE_MS);
  setConfirmed(clocks, sentAt);
  return answer;
}

async function answer({ id }: { id: number }): Promise<void> {
  let said: Answer;
  try {
    said = { id, beat: await beat() };
  } catch (error) {
    said = { id, error: messageOf(error) };
  }
  port.postMessage(said);
}

port.on("message", (question: Question) => {
  attempts = question.attempts;
  if (question.id !== undefined) void answer({ id: question.id });
});

setInterval(() => {
  const why = watch(attempts.length > 0);
  if (why !== undefined) {
    // Not by the logger, whose other end may be what hangs.
    writeSync(2, `the worker is killed: ${why}\n`);
    process.kill(process.pid, "SIGKILL");
  }
  // The worker asks for a beat in time, unless it is busy. What is lost meanwhile it hears at its next question.
  if (performance.now() - lastAt > beatMs + lookMs) void beat().catch(() => undefined);
}, lookMs);
