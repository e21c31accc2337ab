import { CalendarClock, FileCode2, UserRound } from "lucide-react";
import { NextRun } from "#components/schedule/next-run.tsx";
import { PauseButton } from "#components/schedule/pause-button.tsx";
import { Badge } from "#components/ui/badge.tsx";
import type { DagDetail } from "#lib/contract/dags.ts";
import { ConfDialog } from "./conf-dialog.tsx";
import { MissingBadge } from "./dag-table.tsx";
import { TriggerButton } from "./trigger-button.tsx";

type Props = { dag: DagDetail; serverNow: string };

/** What DAG this is, and the buttons that start it. */
export function DagHeader({ dag, serverNow }: Props) {
  return (
    <header className="flex flex-wrap items-start justify-between gap-4">
      <div className="grid min-w-0 gap-1.5">
        <div className="flex flex-wrap items-center gap-2">
          <h1 className="text-xl font-semibold tracking-tight break-all">{dag.id}</h1>
          <Badge>v{dag.version}</Badge>
          {dag.tags.map((tag) => (
            <Badge key={tag}>{tag}</Badge>
          ))}
          {dag.missing ? <MissingBadge /> : null}
        </div>
        {dag.description === null ? null : <p className="max-w-prose text-ink-soft">{dag.description}</p>}
        <p className="flex flex-wrap gap-x-4 text-xs text-ink-soft">
          <ScheduleFact dag={dag} serverNow={serverNow} />
          <span className="inline-flex items-center gap-1 font-mono">
            <FileCode2 aria-hidden className="size-3.5" />
            {dag.file}
          </span>
          {dag.owner === null ? null : (
            <span className="inline-flex items-center gap-1">
              <UserRound aria-hidden className="size-3.5" />
              {dag.owner}
            </span>
          )}
        </p>
      </div>
      <div className="flex flex-wrap gap-2">
        {dag.paused ? null : <PauseButton dagId={dag.id} />}
        <ConfDialog dagId={dag.id} disabled={dag.missing} />
        <TriggerButton dagId={dag.id} name="Trigger" disabled={dag.missing} />
      </div>
    </header>
  );
}

function ScheduleFact({ dag, serverNow }: Props) {
  const { schedule } = dag;
  if (schedule === null) return null;
  return (
    <a href="#schedule" className="inline-flex items-baseline gap-1 hover:text-ink hover:underline">
      <CalendarClock aria-hidden className="size-3.5 shrink-0 translate-y-0.5" />
      <span>
        {schedule.words}
        {schedule.count === 1 ? null : ` and ${schedule.count - 1} more`}
        {" · "}
        <NextRun isNamed dag={dag} run={schedule.nextRun} serverNow={serverNow} />
      </span>
    </a>
  );
}
