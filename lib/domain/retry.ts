import { durationMs } from "./model/duration.ts";
import type { Retries } from "./model/retries.ts";

/** A failed attempt, as the retry policy sees it. */
export type Failure = {
  reason: string;
  exitCode?: number | undefined;
  httpStatus?: number | undefined;
  /** The task itself says that another attempt would end the same. */
  isFinal?: boolean | undefined;
};

export type RetryVerdict = { retry: false } | { retry: true; delayMs: number };

/**
 * Whether a failed attempt is followed by another, and after how long. `failures` counts the user's own failed
 * attempts, this one included (attempts that lost their worker are not among them). `random` is in [0, 1).
 *
 * Exponential delays double from `delay` to `maxDelay`; with jitter the wait is uniform between nothing and the
 * delay ("full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export function nextRetry(policy: Retries, failure: Failure, failures: number, random: number): RetryVerdict {
  if (failure.isFinal || failures > policy.max || !isRetried(policy, failure)) return { retry: false };
  const base = durationMs(policy.delay);
  // 2 ** 1023 is the largest power a number holds; beyond some fifty doublings the cap rules anyway.
  const grown = policy.backoff === "fixed" ? base : base * 2 ** Math.min(failures - 1, 50);
  // The delay somebody wrote down is never cut, also when it is longer than the default of maxDelay.
  const capped = Math.min(grown, Math.max(durationMs(policy.maxDelay), base));
  return { retry: true, delayMs: Math.round(policy.jitter ? capped * random : capped) };
}

function isRetried({ retryOn }: Retries, failure: Failure): boolean {
  if (retryOn === undefined) return true;
  const { exitCodes, httpStatuses, errors } = retryOn;
  return (
    (failure.exitCode !== undefined && (exitCodes?.includes(failure.exitCode) ?? false)) ||
    (failure.httpStatus !== undefined && (httpStatuses?.includes(failure.httpStatus) ?? false)) ||
    (errors?.includes(failure.reason) ?? false)
  );
}
