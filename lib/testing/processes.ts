import { existsSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** True while the process runs; one that has ended and only waits to be collected by its parent does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  if (!existsSync(stat)) return process.platform !== "linux";
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(stat, "utf8"));
  } catch {
    return false;
  }
}

/** Resolves when none of these processes runs. The system tells only a parent of an end, so this one looks. */
export async function allEnded(pids: readonly number[], withinMs = 5_000): Promise<boolean> {
  const end = performance.now() + withinMs;
  while (pids.some(isRunning)) {
    if (performance.now() > end) return false;
    await delay(20);
  }
  return true;
}
