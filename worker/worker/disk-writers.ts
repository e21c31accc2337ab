import { execFile } from "node:child_process";
import type { Log } from "#lib/domain/log.ts";
import { freeMibOf } from "./free-disk.ts";

/** The free disk below which a task is ended, of that below which none is started. */
const END_BELOW = 1 / 2;
/** What a task must have written to be ended for it, of what is missing: one that wrote nothing would free nothing. */
const WORTH = 1 / 16;
/** While a process runs: what writes a gibibyte a second writes 100 MiB between two looks. */
const LOOK_EVERY_MS = 100;
/** A folder that takes longer to be counted has so many files that it is the largest. */
const COUNT_MS = 3_000;
const COUNTS_AT_ONCE = 4;

/** `signal` aborts when the task is ended because it has written most; its reason says so. */
export type Writer = { signal: AbortSignal; leave(): void };

export type Writers = {
  /** A process runs in this folder, until `leave`. */
  enter(folder: string): Writer;
};

type Entered = { folder: string; stop: AbortController };

/**
 * Ends the task that has written most to its folder when the file system of `folder` is nearly full: one at a time, until the
 * next look after its end finds enough. What other programs write, or tasks elsewhere, ends no task. `end` kills what runs in a folder.
 */
export function createWriters(options: {
  folder: string;
  minFreeMib: number;
  end: (folder: string) => Promise<unknown>;
  log: Pick<Log, "warn">;
  freeMib?: (folder: string) => Promise<number>;
  sizeMib?: (folder: string) => Promise<number>;
}): Writers {
  const { folder, minFreeMib, end, log, freeMib = freeMibOf, sizeMib = countedByDu } = options;
  const entered = new Set<Entered>();
  let looking: NodeJS.Timeout | undefined;
  let isBusy = false;
  /** The one that is being ended. */
  let ending: Entered | undefined;

  const look = async (): Promise<void> => {
    if (ending !== undefined) return;
    const free = await freeMib(folder);
    if (free >= minFreeMib * END_BELOW) return;
    const largest = await largestOf([...entered], sizeMib);
    if (largest === undefined || largest.mib < (minFreeMib - free) * WORTH || !entered.has(largest.one)) return;
    ending = largest.one;
    const size = Number.isFinite(largest.mib) ? `${largest.mib} MiB` : "more files than could be counted";
    const error =
      `ended, because the worker's disk had ${free} MiB left, and of all tasks that ran there ` +
      `this one had written most to its folder: ${size}`;
    log.warn({ folder: largest.one.folder }, error);
    largest.one.stop.abort(new Error(error));
    // At once, and not after the grace that an aborted task has: it would write on.
    await end(largest.one.folder);
  };

  const onTime = (): void => {
    if (isBusy) return;
    isBusy = true;
    look()
      .catch((error: unknown) => log.warn({ err: error }, "the disk could not be looked at"))
      .finally(() => (isBusy = false));
  };

  return {
    enter(of) {
      const one: Entered = { folder: of, stop: new AbortController() };
      entered.add(one);
      if (minFreeMib > 0) looking ??= setInterval(onTime, LOOK_EVERY_MS);
      return {
        signal: one.stop.signal,
        leave() {
          entered.delete(one);
          if (ending === one) ending = undefined;
          if (entered.size > 0) return;
          clearInterval(looking);
          looking = undefined;
        },
      };
    },
  };
}

async function largestOf(
  entered: Entered[],
  sizeMib: (folder: string) => Promise<number>,
): Promise<{ one: Entered; mib: number } | undefined> {
  let largest: { one: Entered; mib: number } | undefined;
  const count = async (): Promise<void> => {
    for (let one = entered.pop(); one !== undefined; one = entered.pop()) {
      const mib = await sizeMib(one.folder);
      if (largest === undefined || mib > largest.mib) largest = { one, mib };
    }
  };
  await Promise.all(Array.from({ length: COUNTS_AT_ONCE }, count));
  return largest;
}

/** What a folder holds on its file system, in MiB, counted by a process of its own; infinite when that takes too long. */
export function countedByDu(folder: string): Promise<number> {
  return new Promise((resolve) => {
    const options = { timeout: COUNT_MS, killSignal: "SIGKILL", env: { PATH: "/usr/bin:/bin" } } as const;
    execFile("du", ["-skx", "--", folder], options as object, (error, stdout) => {
      if (error?.killed === true) return resolve(Number.POSITIVE_INFINITY);
      // What was deleted while it counted is an error beside the number.
      const kib = Number.parseInt(String(stdout), 10);
      resolve(Number.isNaN(kib) ? 0 : Math.floor(kib / 1_024));
    });
  });
}
