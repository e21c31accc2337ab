import { ArrowRightFromLine, CalendarX2, ClockAlert, Hourglass, type LucideIcon, OctagonPause } from "lucide-react";
import { formatClock } from "#components/time/format.ts";
import { cn } from "#components/ui/cn.ts";
import type { Schedule, UpcomingRun } from "#lib/contract/schedules.ts";
import type { Note } from "#lib/domain/schedule/notes.ts";

type Props = { schedules: readonly Schedule[]; runs: readonly UpcomingRun[] };

/** The next runs in their zone and in UTC, with what is special about each. */
export function UpcomingRuns({ schedules, runs }: Props) {
  const isUtc = runs.every(({ timezone }) => timezone === "UTC");
  const zones = [...new Set(runs.map(({ timezone }) => timezone))];
  const texts = new Map(schedules.map(({ id, text }) => [id, text]));
  return (
    <table className="w-full border-collapse text-left text-xs">
      <thead>
        <tr className="text-ink-soft">
          <th scope="col" className="px-3 py-1 font-medium">
            {zones.length === 1 ? zones[0] : "In its zone"}
          </th>
          {isUtc ? null : (
            <th scope="col" className="px-3 py-1 text-right font-medium">
              UTC
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {runs.map((run, index) => (
          <tr
            key={`${run.scheduleId} ${run.due}`}
            className={cn("align-baseline", index > 0 && "border-t border-line/60")}
          >
            <td className="px-3 py-1.5">
              <div className="flex flex-wrap gap-x-2">
                <time dateTime={run.at} className="whitespace-nowrap tabular-nums">
                  {formatClock(run.local)}
                  {run.timezone === "UTC" ? null : <span className="text-ink-soft"> {run.local.slice(-6)}</span>}
                </time>
                {zones.length === 1 ? null : <span className="text-ink-soft">{run.timezone}</span>}
                {schedules.length === 1 ? null : (
                  <code className="font-mono break-all text-ink-soft">{texts.get(run.scheduleId)}</code>
                )}
              </div>
              <Notes notes={run.notes} />
            </td>
            {isUtc ? null : (
              <td className="px-3 py-1.5 text-right whitespace-nowrap text-ink-soft tabular-nums">{utcText(run)}</td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The day only where it is another one than in the zone. */
function utcText({ at, local }: UpcomingRun): string {
  return formatClock(at).slice(at.slice(0, 10) === local.slice(0, 10) ? "Wed 2026-03-11 ".length : 0);
}

const ICONS: Record<Note["kind"], LucideIcon> = {
  gap: ClockAlert,
  overlap: ClockAlert,
  shifted: ArrowRightFromLine,
  blackout: OctagonPause,
  jitter: Hourglass,
  skipped: CalendarX2,
};

function Notes({ notes }: { notes: readonly Note[] }) {
  if (notes.length === 0) return null;
  return (
    <ul className="mt-0.5 grid gap-0.5">
      {notes.map(({ kind, text }) => {
        const Icon = ICONS[kind];
        return (
          <li
            key={text}
            className={cn("flex items-start gap-1.5 leading-4", kind === "jitter" ? "text-ink-soft" : "text-retrying")}
          >
            <Icon aria-hidden className="mt-0.5 size-3 shrink-0" />
            <span className="min-w-0">{text}</span>
          </li>
        );
      })}
    </ul>
  );
}
