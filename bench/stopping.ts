import { readdir, readFile } from "node:fs/promises";
import os from "node:os";
import { setTimeout as delay } from "node:timers/promises";

/** Ends something that the bench has started, within seconds and whatever state it is in. */
type Stop = () => Promise<unknown>;

const STOP_WITHIN_MS = 15_000;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const stops = new Set<Stop>();
let isStopping = false;

/** Has `stop` called when a signal ends the bench; the function that is returned takes this back. */
export function whenSignalled(stop: Stop): () => void {
  stops.add(stop);
  return () => stops.delete(stop);
}

/**
 * Runs the bench. A signal stops all that it has started, and only then the process ends. Postgres runs in a session of
 * its own, which Ctrl-C does not reach; a worker that stands still does not even end by SIGTERM.
 */
export async function runStoppable(bench: () => Promise<void>): Promise<void> {
  for (const signal of SIGNALS) process.on(signal, () => void stopAll(signal));
  try {
    await bench();
  } catch (error) {
    // What a measure waited for ends while everything is stopped: this is no failure, and must not end the process early.
    if (!isStopping) throw error;
  }
}

async function stopAll(signal: (typeof SIGNALS)[number]): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  process.on("uncaughtException", () => undefined);
  process.on("unhandledRejection", () => undefined);
  // Before anything ends: a process whose parent has ended is not found as a descendant.
  const started = await descendants(process.pid);
  for (const pid of started) send(pid, "SIGCONT");
  await Promise.race([Promise.allSettled([...stops].map((stop) => stop())), delay(STOP_WITHIN_MS)]);
  for (const pid of new Set([...started, ...(await descendants(process.pid))])) send(pid, "SIGKILL");
  process.exit(128 + os.constants.signals[signal]);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

/** The processes below this one, by their ids; none where there is no /proc. */
export async function descendants(pid: number): Promise<number[]> {
  const children = new Map<number, number[]>();
  for (const entry of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readFile(`/proc/${entry}/stat`, "utf8").catch(() => "");
    // After the name, which may hold anything: the state, the parent.
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
  }
  const found: number[] = [];
  const below = (of: number): void => {
    for (const child of children.get(of) ?? []) {
      found.push(child);
      below(child);
    }
  };
  below(pid);
  return found;
}
