import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../domain/errors.ts";
import { type Random, randomOfCase } from "./random.ts";

/** Something of ours that reads what others wrote, as it really runs. */
export type Target = { name: string; start(): Promise<Started> };

export type Started = {
  /** One case, and whether those beside it are served as before; what is wrong, one line each. */
  one(random: Random): Promise<string[]>;
  /** Ends it, and returns what is wrong with what it leaves. */
  stop(): Promise<string[]>;
};

/** A case that takes so long does not end. */
const HANGS_MS = 90_000;
/** Of the processor, of this process: a loop that is blocked for as long serves nobody meanwhile. */
const BLOCKED_MS = 5_000;

export type Cases = {
  seed: number;
  /** The number of the first case, to run one again. */
  from?: number;
  /** Whether there is another one. */
  more: (ran: number) => boolean;
  /** Told before each case how that one is run again. */
  begins?: (again: string) => void;
};

/** Runs cases one after the other up to the first that shows a fault, which is returned with how to run it again. */
export async function fuzz(
  target: Target,
  { seed, from = 0, more, begins }: Cases,
): Promise<{ ran: number; faults: string[] }> {
  const started = await target.start();
  const faults: string[] = [];
  let ran = 0;
  const again = (): string => `npm run fuzz -- --only ${target.name} --seed ${seed} --from ${from + ran} --cases 1`;
  for (; faults.length === 0 && more(ran); ran++) {
    begins?.(again());
    const found = await faultsOf(started, randomOfCase(seed, target.name, from + ran));
    faults.push(...found.map((fault) => `${fault}\n  ${again()}`));
  }
  const left = await started.stop();
  return { ran, faults: [...faults, ...left] };
}

async function faultsOf(started: Started, random: Random): Promise<string[]> {
  const over = new AbortController();
  const before = process.cpuUsage();
  try {
    const late = delay(HANGS_MS, [`it has not ended after ${HANGS_MS / 1000} s`], { signal: over.signal });
    const faults = await Promise.race([started.one(random), late]);
    const { user, system } = process.cpuUsage(before);
    const usedMs = (user + system) / 1_000;
    return usedMs > BLOCKED_MS ? [...faults, `it took ${Math.round(usedMs)} ms of the processor`] : faults;
  } catch (error) {
    return [`it threw: ${messageOf(error)}`];
  } finally {
    over.abort();
  }
}
