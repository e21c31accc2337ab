import { Counter, type Registry } from "prom-client";

/** Counts output of tasks that a worker has given up because the database did not store it. */
export function createLostOutputCounter(registry: Registry): (bytes: number) => void {
  const lost = new Counter({
    name: "sluice_lost_output_bytes_total",
    help: "Bytes of task output that were given up because the database did not store them.",
    registers: [registry],
  });
  return (bytes) => lost.inc(bytes);
}
