import type { Backfill } from "#lib/db/backfill-reads.ts";
import { remainingMs } from "#lib/domain/backfill/estimate.ts";
import { isFinalBackfillState } from "#lib/domain/states.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { about } from "./backfill-preview.ts";
import { EXIT, trouble } from "./exit.ts";
import { printJson, printLine } from "./print.ts";

const POLL_MS = 500;
/** Without a terminal, a line at most so often. */
const LINE_EVERY_MS = 5_000;
const BAR_WIDTH = 24;
/** Of a terminal that does not tell its width. */
const UNKNOWN_COLUMNS = 80;

export async function backfillOrExit({ pool }: EngineDeps, backfillId: string): Promise<Backfill> {
  const { findBackfill } = await import("#lib/db/backfill-reads.ts");
  return (
    (await findBackfill(pool, backfillId)) ??
    trouble(`there is no backfill ${backfillId}; \`sluice backfill list\` lists them`)
  );
}

/** Shows how a backfill gets on until it ends, when `wait` is wished, and then how it stands; sets the exit code. Ctrl-C leaves it going. */
export async function followBackfill(
  deps: EngineDeps,
  backfillId: string,
  { wait, json }: { wait: boolean; json: boolean },
): Promise<void> {
  let backfill = await backfillOrExit(deps, backfillId);
  if (wait) backfill = await untilEnd(deps, backfill);
  if (json) printJson(backfill);
  else if (wait) printLine(`backfill ${backfill.id}: ${backfill.state}, ${countsText(backfill)}`);
  else printLine(`\`sluice backfill show ${backfill.id} --watch\` follows it`);
  if (wait && backfill.state !== "success") process.exitCode = EXIT.no;
}

async function untilEnd(deps: EngineDeps, first: Backfill): Promise<Backfill> {
  const shown = progress(process.stderr);
  let stop = (): void => undefined;
  const interrupted = new Promise<"interrupted">((resolve) => {
    stop = () => resolve("interrupted");
  });
  process.on("SIGINT", stop);
  try {
    let backfill = first;
    while (!isFinalBackfillState(backfill.state)) {
      shown.show(backfill);
      const tick = new Promise<"tick">((resolve) => setTimeout(() => resolve("tick"), POLL_MS));
      if ((await Promise.race([tick, interrupted])) === "interrupted") return leave(backfill, shown);
      backfill = await backfillOrExit(deps, backfill.id);
    }
    shown.end();
    return backfill;
  } finally {
    process.off("SIGINT", stop);
  }
}

function leave({ id }: Backfill, shown: Progress): never {
  shown.end();
  process.stderr.write(
    `backfill ${id} goes on: \`sluice backfill show ${id} --watch\` follows it, \`sluice backfill cancel ${id}\` ends it\n`,
  );
  process.exit(EXIT.interrupted);
}

type Progress = { show(backfill: Backfill): void; end(): void };

/** A bar that is drawn over itself on a terminal, and else a line when something has changed, now and then. */
export function progress(
  stream: Pick<NodeJS.WriteStream, "isTTY" | "columns"> & { write(text: string): unknown },
): Progress {
  if (stream.isTTY)
    return {
      show: (backfill) => {
        const line = `${bar(backfill)} ${progressText(backfill)}`;
        // One that is wrapped would not be drawn over.
        stream.write(`\r\u001B[K${line.slice(0, (stream.columns || UNKNOWN_COLUMNS) - 1)}`);
      },
      end: () => void stream.write("\r\u001B[K"),
    };
  let last = "";
  let at = -Infinity;
  return {
    show: (backfill) => {
      const text = countsText(backfill) + backfill.state;
      const now = performance.now();
      if (text === last || now - at < LINE_EVERY_MS) return;
      last = text;
      at = now;
      stream.write(`${progressText(backfill)}\n`);
    },
    end: () => undefined,
  };
}

function endedOf({ counts }: Backfill): number {
  return (counts.success ?? 0) + (counts.failed ?? 0) + (counts.cancelled ?? 0);
}

function bar(backfill: Backfill): string {
  const done = Math.floor((endedOf(backfill) / backfill.slices) * BAR_WIDTH);
  return `[${"#".repeat(done)}${"-".repeat(BAR_WIDTH - done)}]`;
}

/** `12/31 dates (38%): 15 queued, 4 running, 10 success, 2 failed, about 2m left`. */
export function progressText(backfill: Backfill): string {
  const ended = endedOf(backfill);
  const percent = Math.floor((ended / backfill.slices) * 100);
  return `${ended}/${backfill.slices} dates (${percent}%): ${countsText(backfill)}${standing(backfill)}`;
}

/** What keeps it, or how long it still takes. */
function standing({ state, missing, pausedBy, meanRunMs, maxActive, counts }: Backfill): string {
  if (state === "paused") return `, paused by ${pausedBy ?? "?"}`;
  if (state === "cancelling") return ", being cancelled";
  if (state !== "running") return "";
  if (missing) return ", the DAG's file is gone, and nothing more starts until it is back";
  const left = remainingMs({ meanRunMs, maxActive, queued: counts.queued ?? 0, running: counts.running ?? 0 });
  return left === undefined || left === 0 ? "" : `, about ${about(left)} left`;
}

/** `10 success, 2 failed, 15 queued`. */
export function countsText({ counts }: Backfill): string {
  return Object.entries(counts)
    .filter(([, number]) => number > 0)
    .map(([state, number]) => `${number} ${state}`)
    .join(", ");
}
