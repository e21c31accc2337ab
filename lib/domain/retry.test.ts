import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Retries } from "./model/retries.ts";
import { nextRetry } from "./retry.ts";

const policy = (input: Parameters<typeof Retries.parse>[0]): Retries => Retries.parse(input);
const exit = (exitCode: number): { reason: string; exitCode: number } => ({ reason: "EXIT", exitCode });

describe("the retry policy", () => {
  test("gives exactly `max` retries", () => {
    const three = policy({ max: 3, jitter: false });
    expect([1, 2, 3, 4].map((failures) => nextRetry(three, exit(1), failures, 0).retry)).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(nextRetry(policy(0), exit(1), 1, 0)).toEqual({ retry: false });
  });

  test("doubles an exponential delay up to its maximum, and keeps a fixed one", () => {
    const delays = (given: Retries): unknown[] =>
      [1, 2, 3, 4].map((failures) => (nextRetry(given, exit(1), failures, 0.5) as { delayMs: number }).delayMs);
    expect(delays(policy({ max: 9, delay: "2s", maxDelay: "10s", jitter: false }))).toEqual([
      2_000, 4_000, 8_000, 10_000,
    ]);
    expect(delays(policy({ max: 9, delay: "2s", backoff: "fixed", jitter: false }))).toEqual([
      2_000, 2_000, 2_000, 2_000,
    ]);
    expect(delays(policy({ max: 9, delay: "2s", backoff: "fixed" }))).toEqual([1_000, 1_000, 1_000, 1_000]);
    expect(delays(policy({ max: 9, delay: "2h", jitter: false }))[0]).toBe(7_200_000);
  });

  test("retries only what retryOn names", () => {
    const given = policy({ max: 1, retryOn: { exitCodes: [75], httpStatuses: [503], errors: ["TIMEOUT"] } });
    const retried = (failure: Parameters<typeof nextRetry>[1]): boolean => nextRetry(given, failure, 1, 0).retry;
    expect(retried(exit(75))).toBe(true);
    expect(retried(exit(1))).toBe(false);
    expect(retried({ reason: "HTTP_STATUS", httpStatus: 503 })).toBe(true);
    expect(retried({ reason: "HTTP_STATUS", httpStatus: 404 })).toBe(false);
    expect(retried({ reason: "TIMEOUT" })).toBe(true);
  });

  test("retries nothing that says it is final, whatever retryOn names", () => {
    const given = policy({ max: 9, retryOn: { exitCodes: [75] } });
    expect(nextRetry(given, { ...exit(75), isFinal: true }, 1, 0)).toEqual({ retry: false });
  });

  test("never waits longer than the maximum, nor a negative time", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (failures, random) => {
          const verdict = nextRetry(policy({ max: 1_000, delay: "1s", maxDelay: "1m" }), exit(1), failures, random);
          expect(verdict.retry && verdict.delayMs >= 0 && verdict.delayMs <= 60_000).toBe(true);
        },
      ),
    );
  });
});
