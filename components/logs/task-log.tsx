import { Download } from "lucide-react";
import { useMemo } from "react";
import { ConnectionDot } from "#components/run/connection-dot.tsx";
import { LOST_LOOK, STATE_LOOKS } from "#components/state/state-looks.ts";
import { Time } from "#components/time/time.tsx";
import { Button } from "#components/ui/button.tsx";
import { Card, CardHeader, CardTitle } from "#components/ui/card.tsx";
import { cn } from "#components/ui/cn.ts";
import type { Attempt, LogEnd, TaskInstance } from "#lib/contract/task-instances.ts";
import type { LogLevel } from "#lib/domain/log-lines/level-words.ts";
import { AttemptTabs } from "./attempt-tabs.tsx";
import { LevelChips } from "./level-chips.tsx";
import { countGrave } from "./log-lines.ts";
import { LogView } from "./log-view.tsx";
import { emptyLog } from "./empty-log.ts";
import { useLog } from "./use-log.ts";

type Level = { level: LogLevel | undefined; onLevel: (level: LogLevel | undefined) => void };
type Props = Level & {
  task: TaskInstance | undefined;
  attempt: number | undefined;
  onAttempt: (attempt: number) => void;
};

/** The log of the selected task: its latest attempt, or the one that was asked for. */
export function TaskLog({ task, attempt, onAttempt, level, onLevel }: Props) {
  if (task === undefined) {
    return (
      <Card>
        <CardHeader>
          <CardTitle>Log</CardTitle>
        </CardHeader>
        <p className="p-4 text-ink-soft">Select a task in the graph or the table to read its log.</p>
      </Card>
    );
  }
  const shown = attempt !== undefined && attempt <= task.attempt ? attempt : Math.max(task.attempt, 1);
  return (
    <Card>
      <CardHeader>
        <CardTitle className="truncate">Log of {task.taskId}</CardTitle>
        <AttemptTabs count={task.attempt} shown={shown} onSelect={onAttempt} />
        <Button asChild variant="ghost" size="sm" className="ml-auto">
          <a
            href={`/api/v1/task-instances/${task.id}/logs?attempt=${shown}&follow=false`}
            target="_blank"
            rel="noreferrer"
          >
            <Download aria-hidden />
            Whole log
          </a>
        </Button>
      </CardHeader>
      <AttemptLog key={`${task.id}.${shown}`} task={task} attempt={shown} level={level} onLevel={onLevel} />
    </Card>
  );
}

function AttemptLog({ task, attempt, level, onLevel }: Level & { task: TaskInstance; attempt: number }) {
  const { lines, connection, ended } = useLog(task.id, attempt);
  const counts = useMemo(() => countGrave(lines), [lines]);
  return (
    <>
      <div className="flex flex-wrap items-center gap-x-4 gap-y-1 border-b border-line px-3 py-1.5 text-xs">
        <ConnectionDot connection={connection} />
        {attempt === task.attempt && <Pause task={task} />}
        <Ending end={ended} />
        <LevelChips shown={level} counts={counts} onSelect={onLevel} />
      </div>
      <LogView log={lines} least={level} empty={emptyLog(task, ended)} />
    </>
  );
}

/** What goes on by itself, and when. */
function Pause({ task: { state, notBefore, waitsFor } }: { task: TaskInstance }) {
  if (notBefore === null) return null;
  const look = STATE_LOOKS[state];
  return (
    <>
      <span className={cn("inline-flex items-center gap-1 font-medium", look.text)}>
        <look.icon aria-hidden className="size-3.5" />
        {look.word}
      </span>
      <span>
        {state === "deferred" ? "Looks again" : "Tries again"} at <Time at={notBefore} /> UTC
      </span>
      {waitsFor === null ? null : <span className="basis-full break-words text-ink-soft">{waitsFor}</span>}
    </>
  );
}

function Ending({ end }: { end: LogEnd | undefined }) {
  if (!end?.attempt) return null;
  const { state, exitCode, error, workerId, deferrals, lostLogBytes } = end.attempt;
  const look = lookOf(state);
  return (
    <>
      <span className={cn("inline-flex items-center gap-1 font-medium", look.text)}>
        <look.icon aria-hidden className="size-3.5" />
        {look.word}
      </span>
      {exitCode === null ? null : <span>Exit code {exitCode}</span>}
      {deferrals === 0 ? null : <span>Looked {deferrals + 1} times</span>}
      {workerId === null ? null : <span className="text-ink-soft">on {workerId}</span>}
      {lostLogBytes === 0 ? null : (
        <span className="basis-full text-danger">
          {lostLogBytes.toLocaleString("en")} bytes of output are missing here: the database did not store them
        </span>
      )}
      {error === null ? null : <span className="basis-full break-words text-danger">{error}</span>}
    </>
  );
}

function lookOf(state: Attempt["state"]) {
  return state === "lost" ? LOST_LOOK : STATE_LOOKS[state];
}
