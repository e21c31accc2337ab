import { CirclePause, TriangleAlert } from "lucide-react";
import { formatClock } from "#components/time/format.ts";
import { cn } from "#components/ui/cn.ts";
import type { DroppedRuns } from "#lib/contract/schedules.ts";
import { DROP_WORDS, MAX_COUNTED } from "#lib/domain/schedule/decide.ts";

/** Runs that were due and never started, with the reason; a pause was somebody's wish and is no warning. */
export function DroppedList({ dropped }: { dropped: readonly DroppedRuns[] }) {
  if (dropped.length === 0) return null;
  return (
    <ul aria-label="Runs that did not start in the last 30 days" className="grid gap-1">
      {dropped.map((one) => {
        const isPause = one.reason === "PAUSED";
        const Icon = isPause ? CirclePause : TriangleAlert;
        return (
          <li
            key={one.reason}
            className={cn(
              "flex items-start gap-2 rounded-md border px-2 py-1.5 text-xs leading-4",
              isPause ? "border-line bg-sunken text-ink-soft" : "border-retrying/40 bg-retrying/8 text-retrying",
            )}
          >
            <Icon aria-hidden className="mt-px size-3.5 shrink-0" />
            <span className="min-w-0">
              {whatOf(one)} did not start: {DROP_WORDS[one.reason]}.
            </span>
          </li>
        );
      })}
    </ul>
  );
}

function whatOf({ runs, firstDue, lastDue }: DroppedRuns): string {
  const first = formatClock(firstDue);
  if (runs === 1) return `1 run, due ${first} UTC,`;
  const last = formatClock(lastDue);
  const count = `${runs >= MAX_COUNTED ? "At least " : ""}${runs.toLocaleString("en")} runs`;
  return `${count} between ${first} and ${first.slice(0, 14) === last.slice(0, 14) ? last.slice(15) : last} UTC`;
}
