import { CalendarClock, TriangleAlert } from "lucide-react";
import Link from "next/link";
import { cn } from "#components/ui/cn.ts";
import type { Dag } from "#lib/contract/dags.ts";
import { NextRun } from "./next-run.tsx";

type Props = { dag: Dag; serverNow: string; className?: string };

/** In the list: when a DAG runs, when it does so next, and whether it missed some. */
export function ScheduleCell({ dag, serverNow, className }: Props) {
  const { schedule } = dag;
  if (schedule === null) return <span className={cn("text-xs text-ink-soft", className)}>No schedule</span>;
  const { text, words, count, nextRun, dropped } = schedule;
  return (
    <div className={cn("grid gap-0.5 text-xs", className)}>
      <div className="flex min-w-0 items-baseline gap-1.5">
        <span className="truncate" title={`${text} (${words})`}>
          {words}
        </span>
        {count > 1 ? <span className="shrink-0 text-ink-soft">and {count - 1} more</span> : null}
      </div>
      <div className="flex flex-wrap items-center gap-x-3 text-ink-soft">
        <span className="inline-flex items-center gap-1">
          <CalendarClock aria-hidden className="size-3" />
          <span className="sr-only">Next run:</span>
          <NextRun dag={dag} run={nextRun} serverNow={serverNow} />
        </span>
        {dropped === 0 ? null : (
          <Link
            href={`/dags/${dag.id}#schedule`}
            title="Runs of the last 30 days that were due and never started"
            className="inline-flex items-center gap-1 whitespace-nowrap text-retrying hover:underline"
          >
            <TriangleAlert aria-hidden className="size-3" />
            {dropped.toLocaleString("en")} dropped
          </Link>
        )}
      </div>
    </div>
  );
}
