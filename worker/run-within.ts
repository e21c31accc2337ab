import { durationMs } from "#lib/domain/model/duration.ts";
import type { TaskSpec } from "#lib/domain/model/task.ts";
import type { Outcome } from "#lib/executors/executor.ts";
import { afterLong } from "#lib/executors/timeout-signal.ts";

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
  // One signal and one promise by hand: `AbortSignal.any` and a race cost a task that does nothing half of its time.
  const stop = new AbortController();
  const done = Promise.withResolvers<Outcome>();
  let isLate = false;
  let patience: NodeJS.Timeout | undefined;
  const abort = (reason: unknown): void => {
    if (stop.signal.aborted) return;
    stop.abort(reason);
    const error = `its executor did not end within ${GIVE_UP_MS / 1_000} s of its signal, and was given up`;
    patience = setTimeout(() => done.resolve({ kind: "failed", reason: "CANCELLED", error }), GIVE_UP_MS);
  };
  const onSignal = (): void => abort(signal.reason);
  const onTime = afterLong(durationMs(timeout), () => {
    isLate = true;
    abort(new DOMException("The time is over.", "TimeoutError"));
  });
  if (signal.aborted) onSignal();
  else signal.addEventListener("abort", onSignal, { once: true });
  try {
    // Of one that was given up, nothing is heard any more.
    run(stop.signal).then(done.resolve, done.reject);
    const outcome = await done.promise;
    if (!isLate) return outcome;
    const error = `the attempt took longer than its timeout of ${timeout}`;
    return { kind: "failed", reason: "TIMEOUT", error, usage: outcome.usage };
  } finally {
    onTime();
    clearTimeout(patience);
    signal.removeEventListener("abort", onSignal);
  }
}
