import Link from "next/link";
import { STATE_LOOKS } from "#components/state/state-looks.ts";
import { formatDuration, spanMs } from "#components/time/format.ts";
import { cn } from "#components/ui/cn.ts";
import type { RunState } from "#lib/domain/states.ts";
import { barHeights } from "./bar-heights.ts";

export type Bar = { id: string; state: RunState; startedAt: string | null; endedAt: string | null };

const SLOTS = 12;
/** Where there is little room, those before this slot are left out. */
const NARROW_FROM = 6;

/** The last runs, newest at the right: height is duration, colour is state, a click opens the run. */
export function RunBars({ runs, nowMs }: { runs: readonly Bar[]; nowMs: number }) {
  const durations = runs.map((run) => (run.startedAt === null ? 0 : spanMs(run.startedAt, run.endedAt, nowMs)));
  const heights = barHeights(durations);
  const empty = Math.max(0, SLOTS - runs.length);
  return (
    <ul aria-label="Latest runs" className="flex h-7 items-end gap-[3px]">
      {Array.from({ length: empty }, (_, index) => (
        <li
          key={`empty-${index}`}
          aria-hidden
          className={cn("h-1 w-1.5 rounded-sm bg-line", index < NARROW_FROM && "max-sm:hidden")}
        />
      ))}
      {runs.map((run, index) => {
        const look = STATE_LOOKS[run.state];
        const label = `Run ${run.id}: ${look.word}, ${formatDuration(durations[index]!)}`;
        return (
          <li key={run.id} className={cn("flex h-full items-end", empty + index < NARROW_FROM && "max-sm:hidden")}>
            <Link
              href={`/runs/${run.id}`}
              prefetch={false}
              title={label}
              aria-label={label}
              className="group flex h-full w-1.5 items-end"
            >
              <span
                className={cn("w-full rounded-sm group-hover:opacity-70", look.fill, look.moving && "animate-pulse")}
                style={{ height: `${heights[index]!}%` }}
              />
            </Link>
          </li>
        );
      })}
    </ul>
  );
}
