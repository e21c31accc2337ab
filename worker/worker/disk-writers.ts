import { execFile } from "node:child_process";
import type { Log } from "#lib/domain/log.ts";
import { freeMibOf } from "./free-disk.ts";

/** The free disk below which a task is ended, of that below which none is started. */
const END_BELOW = 1 / 2;
/**
 * What the folder of a task must hold to be the reason, of what the disk has lost. A deleted file that is open and files outside the
 * folders are found in none: the largest of the others would be ended for them.
 */
const MOST = 1 / 2;
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

/** `mostFreeMib` is the most that was free since it began. */
type Entered = { folder: string; stop: AbortController; mostFreeMib: number };

/**
 * Ends the task that has written most to its folder when the file system of `folder` is nearly full: one at a time, until the
 * next look after its end finds enough. It must hold half of what the disk has lost since it began and since the disk was last well: what
 * other programs write, or tasks elsewhere, ends no task, and is logged. `end` kills what runs in a folder.
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
  /** Free when the disk was last well. */
  let wellMib = minFreeMib;
  let isUnexplainedSaid = false;

  const lost = (one: Entered, free: number): number => Math.max(one.mostFreeMib, wellMib) - free;

  const sayUnexplained = (free: number): void => {
    if (isUnexplainedSaid) return;
    isUnexplainedSaid = true;
    log.warn(
      { folder, freeMib: free },
      `the worker's disk has ${free} MiB left, and no task's folder holds half of what it has lost: none is ended; ` +
        "look for deleted files that are open and for files outside the folders of tasks",
    );
  };

  const look = async (): Promise<void> => {
    if (ending !== undefined) return;
    const free = await freeMib(folder);
    for (const one of entered) one.mostFreeMib = Math.max(one.mostFreeMib, free);
    if (free >= minFreeMib) {
      wellMib = free;
      isUnexplainedSaid = false;
    }
    if (free >= minFreeMib * END_BELOW) return;
    const largest = await largestOf([...entered], sizeMib, (one, mib) => mib >= lost(one, free) * MOST);
    if (largest === undefined) return sayUnexplained(free);
    if (!entered.has(largest.one)) return;
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
      const one: Entered = { folder: of, stop: new AbortController(), mostFreeMib: 0 };
      entered.add(one);
      if (minFreeMib > 0) {
        looking ??= setInterval(onTime, LOOK_EVERY_MS);
        // Before it has written much.
        onTime();
      }
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
  isReason: (one: Entered, mib: number) => boolean,
): Promise<{ one: Entered; mib: number } | undefined> {
  let largest: { one: Entered; mib: number } | undefined;
  const count = async (): Promise<void> => {
    for (let one = entered.pop(); one !== undefined; one = entered.pop()) {
      const mib = await sizeMib(one.folder);
      if (isReason(one, mib) && (largest === undefined || mib > largest.mib)) largest = { one, mib };
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
