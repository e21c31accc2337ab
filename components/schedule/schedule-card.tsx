import { CalendarClock } from "lucide-react";
import type { ReactNode } from "react";
import { cn } from "#components/ui/cn.ts";
import { Card, CardHeader, CardTitle } from "#components/ui/card.tsx";
import type { DagDetail } from "#lib/contract/dags.ts";
import type { Schedule, SchedulePreview } from "#lib/contract/schedules.ts";
import { formatClock } from "#components/time/format.ts";
import { DroppedList } from "./dropped-list.tsx";
import { NextRun } from "./next-run.tsx";
import { UpcomingRuns } from "./upcoming-runs.tsx";

type Props = { dag: DagDetail; preview: SchedulePreview };

/** When a DAG's runs are due, which come next, and which never started. */
export function ScheduleCard({ dag, preview }: Props) {
  const { schedules, schedule } = dag;
  return (
    <Card id="schedule" aria-labelledby="schedule-title" className="scroll-mt-16">
      <CardHeader>
        <CalendarClock aria-hidden className="size-4 text-ink-soft" />
        <CardTitle id="schedule-title">Schedule</CardTitle>
        {schedule === null ? null : (
          <span className="ml-auto text-xs text-ink-soft">
            <NextRun isNamed dag={dag} run={schedule.nextRun} serverNow={preview.now} />
          </span>
        )}
      </CardHeader>
      {schedules.length === 0 ? (
        <p className="p-3 text-ink-soft">
          It has no schedule and runs when it is triggered. A line such as <Code>{'schedule: "0 9 * * 1-5"'}</Code> in{" "}
          <Code>{dag.file}</Code> gives it one.
        </p>
      ) : (
        <>
          <ul className="divide-y divide-line">
            {schedules.map((one) => (
              <li key={one.id} className="grid gap-2 p-3">
                <OneSchedule schedule={one} dag={dag} serverNow={preview.now} />
              </li>
            ))}
          </ul>
          <NextRuns dag={dag} preview={preview} />
        </>
      )}
    </Card>
  );
}

type OneProps = { schedule: Schedule; dag: DagDetail; serverNow: string };

function OneSchedule({ schedule, dag, serverNow }: OneProps) {
  const { text, words, details, nextRun, endDate, dropped } = schedule;
  const isEnded = endDate !== null && endDate < serverNow;
  return (
    <>
      <p className="font-medium">{words}</p>
      <p className="flex flex-wrap items-center gap-x-3 gap-y-1 text-xs text-ink-soft">
        <Code>{text}</Code>
        {dag.schedules.length === 1 ? null : <NextRun isNamed dag={dag} run={nextRun} serverNow={serverNow} />}
        {endDate === null ? null : (
          <span>
            {isEnded ? "ended" : "ends"} {formatClock(endDate)} UTC
          </span>
        )}
      </p>
      <details open={details.length > 1} className="text-xs text-ink-soft">
        <summary className="w-fit rounded hover:text-ink">Details</summary>
        <ul className="mt-1 grid list-disc gap-1 pl-4 leading-5">
          {details.map((detail) => (
            <li key={detail}>{detail}</li>
          ))}
        </ul>
      </details>
      <DroppedList dropped={dropped} />
    </>
  );
}

function NextRuns({ dag, preview }: Props) {
  const heading = dag.paused && !dag.missing ? "Next runs, were it to go on now" : "Next runs";
  return (
    <div className={cn("border-t border-line", dag.paused && "text-ink-soft")}>
      <h3 className="px-3 pt-3 pb-1 text-xs font-medium text-ink-soft">{heading}</h3>
      {dag.missing ? (
        <Nothing>No run starts: its file is gone.</Nothing>
      ) : preview.items.length === 0 ? (
        <Nothing>It is never due again.</Nothing>
      ) : (
        <UpcomingRuns schedules={dag.schedules} runs={preview.items} />
      )}
    </div>
  );
}

function Nothing({ children }: { children: ReactNode }) {
  return <p className="px-3 pb-3">{children}</p>;
}

function Code({ children }: { children: ReactNode }) {
  return (
    <code className="rounded bg-sunken px-1.5 py-0.5 font-mono text-xs break-all whitespace-pre-wrap text-ink">
      {children}
    </code>
  );
}
