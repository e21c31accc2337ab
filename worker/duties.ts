/** `error` is what the last time ended with, when it failed. */
export type DutyReport = { name: string; ok: boolean; ageMs: number; maxAgeMs: number; error: string | null };

export type Duties = {
  /** A duty that must be done at least every `maxAgeMs`; the first time counts from now. */
  register(name: string, maxAgeMs: number): void;
  done(name: string): void;
  /** It was tried in vain: its age goes on, as it does while it is being done. */
  failed(name: string, error: string): void;
  report(): DutyReport[];
};

/** What a process must keep doing to count as ready. Time is monotonic: a set clock must not make it late. */
export function createDuties(nowMs: () => number = () => performance.now()): Duties {
  const duties = new Map<string, { maxAgeMs: number; doneAtMs: number; error: string | null }>();
  return {
    register: (name, maxAgeMs) => void duties.set(name, { maxAgeMs, doneAtMs: nowMs(), error: null }),
    done: (name) => {
      const duty = duties.get(name);
      if (duty !== undefined) Object.assign(duty, { doneAtMs: nowMs(), error: null });
    },
    failed: (name, error) => {
      const duty = duties.get(name);
      if (duty !== undefined) duty.error = error;
    },
    report: () =>
      [...duties].map(([name, { maxAgeMs, doneAtMs, error }]) => {
        const ageMs = Math.round(nowMs() - doneAtMs);
        return { name, ok: ageMs <= maxAgeMs, ageMs, maxAgeMs, error };
      }),
  };
}
