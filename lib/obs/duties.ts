import { createRunningClock } from "./running-clock.ts";

/** `error` is what the last time ended with, when it failed. */
export type DutyReport = { name: string; ok: boolean; ageMs: number; maxAgeMs: number; error: string | null };

export type Duties = {
  /**
   * A duty that must be done at least every `maxAgeMs`; the first time counts from now. One that is needed is not ok
   * as soon as it fails: without it the process takes no work.
   */
  register(name: string, maxAgeMs: number, options?: { isNeeded?: boolean | undefined }): void;
  done(name: string): void;
  /** It was tried in vain: its age goes on, as it does while it is being done. */
  failed(name: string, error: string): void;
  report(): DutyReport[];
  /** Which needed duty is not ok, and why; undefined when all are. */
  trouble(): string | undefined;
};

type Duty = { maxAgeMs: number; isNeeded: boolean; doneAtMs: number; error: string | null };

/**
 * What a process must keep doing to count as ready. Time is that in which the process ran: neither a set clock nor a
 * standstill makes it late.
 */
export function createDuties(nowMs: () => number = createRunningClock()): Duties {
  const duties = new Map<string, Duty>();
  const isOk = ({ maxAgeMs, isNeeded, doneAtMs, error }: Duty): boolean =>
    nowMs() - doneAtMs <= maxAgeMs && (error === null || !isNeeded);
  return {
    register: (name, maxAgeMs, { isNeeded = false } = {}) =>
      void duties.set(name, { maxAgeMs, isNeeded, doneAtMs: nowMs(), error: null }),
    done: (name) => {
      const duty = duties.get(name);
      if (duty !== undefined) Object.assign(duty, { doneAtMs: nowMs(), error: null });
    },
    failed: (name, error) => {
      const duty = duties.get(name);
      if (duty !== undefined) duty.error = error;
    },
    report: () =>
      [...duties].map(([name, duty]) => {
        const { maxAgeMs, doneAtMs, error } = duty;
        return { name, ok: isOk(duty), ageMs: Math.round(nowMs() - doneAtMs), maxAgeMs, error };
      }),
    trouble() {
      for (const [name, duty] of duties)
        if (duty.isNeeded && !isOk(duty)) return `${name}: ${duty.error ?? "it has not been done in time"}`;
      return undefined;
    },
  };
}
