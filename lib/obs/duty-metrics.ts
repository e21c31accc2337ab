import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** What Prometheus is told of a process's duties. */
export type DutyMetrics = {
  /** A time that a duty was done or tried has ended. */
  ended(duty: string, outcome: "done" | "failed", seconds: number): void;
  /** How many rows each duty leaves out; the others leave out none. */
  quarantined(counts: Readonly<Record<string, number>>): void;
  /** Where a process adds metrics of its own. */
  registry: Registry;
  /** In Prometheus' text format. */
  text(): Promise<string>;
  contentType: string;
};

/** Seconds; most duties take a few milliseconds, and the database gives up a statement after fifteen seconds. */
const BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10];

/** Metrics of a process, which no other shares. `ages` is asked whenever they are read. */
export function createDutyMetrics(
  ages: () => readonly { name: string; ageMs: number; maxAgeMs: number }[],
): DutyMetrics {
  const registers = [new Registry()];
  const labelNames = ["duty"] as const;
  new Gauge({
    name: "sluice_duty_age_seconds",
    help: "Time since the duty was last done without an error.",
    labelNames,
    registers,
    collect() {
      for (const { name, ageMs } of ages()) this.set({ duty: name }, ageMs / 1_000);
    },
  });
  new Gauge({
    name: "sluice_duty_max_age_seconds",
    help: "The age from which on the process is not ready.",
    labelNames,
    registers,
    collect() {
      for (const { name, maxAgeMs } of ages()) this.set({ duty: name }, maxAgeMs / 1_000);
    },
  });
  const runs = new Counter({
    name: "sluice_duty_runs_total",
    help: "How often the duty was done, or tried in vain.",
    labelNames: ["duty", "outcome"] as const,
    registers,
  });
  const duration = new Histogram({
    name: "sluice_duty_duration_seconds",
    help: "How long the duty took.",
    labelNames,
    buckets: BUCKETS,
    registers,
  });
  const held = new Gauge({
    name: "sluice_quarantined",
    help: "Rows that break the duty and are left out for a time.",
    labelNames,
    registers,
  });
  const [registry] = registers as [Registry];
  return {
    ended(duty, outcome, seconds) {
      runs.inc({ duty, outcome });
      duration.observe({ duty }, seconds);
    },
    quarantined(counts) {
      held.reset();
      for (const [duty, count] of Object.entries(counts)) held.set({ duty }, count);
    },
    registry,
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
