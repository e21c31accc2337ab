import { durationMs } from "#lib/domain/model/duration.ts";
import type { TaskSpec } from "#lib/domain/model/task.ts";
import type { Outcome } from "#lib/executors/executor.ts";
import { timeoutSignal } from "#lib/executors/timeout-signal.ts";

/** From the signal to the end of an executor: two seconds of grace for its process, and as long for what follows its end. */
const GIVE_UP_MS = 4_000;

/**
 * Runs an executor within its task's timeout. Once the timeout has passed, the outcome is TIMEOUT: a program that ends well after it
 * may have done half of its work. An executor that does not end is not waited for; a throw of it is passed on.
 */
export async function runWithin(
  { timeout }: Pick<TaskSpec, "timeout">,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<Outcome>,
): Promise<Outcome> {
  const limit = timeoutSignal(durationMs(timeout));
  const either = AbortSignal.any([signal, limit.signal]);
  const over = new AbortController();
  const running = run(either);
  // Of one that was given up, nothing is heard any more.
  running.catch(() => undefined);
  try {
    const outcome = await Promise.race([running, givenUp(either, over.signal)]);
    if (!limit.signal.aborted) return outcome;
    const error = `the attempt took longer than its timeout of ${timeout}`;
    return { kind: "failed", reason: "TIMEOUT", error, usage: outcome.usage };
  } finally {
    limit.clear();
    over.abort();
  }
}

/** Resolves some time after `signal`, unless the run is over by then. */
function givenUp(signal: AbortSignal, over: AbortSignal): Promise<Outcome> {
  return new Promise((resolve) => {
    const onAbort = (): void => {
      const error = `its executor did not end within ${GIVE_UP_MS / 1_000} s of its signal, and was given up`;
      const timer = setTimeout(() => resolve({ kind: "failed", reason: "CANCELLED", error }), GIVE_UP_MS);
      over.addEventListener("abort", () => clearTimeout(timer), { once: true });
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true, signal: over });
  });
}
