/** Preloaded into a process that is measured: answers a message `loop-delay` with how long its event loop was held since the last one. */
import { monitorEventLoopDelay } from "node:perf_hooks";

const RESOLUTION_MS = 5;
const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
histogram.enable();

process.on("message", (message) => {
  if (message !== "loop-delay") return;
  const ms = (nanoseconds: number): number => Math.max(0, nanoseconds / 1_000_000 - RESOLUTION_MS);
  process.send?.({ type: "loop-delay", p99: ms(histogram.percentile(99)), max: ms(histogram.max) });
  histogram.reset();
});
