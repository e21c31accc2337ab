"use client";

import { useMemo } from "react";
import { DagGraph } from "#components/graph/dag-graph.tsx";
import { TaskLog } from "#components/logs/task-log.tsx";
import { Card, CardHeader, CardTitle } from "#components/ui/card.tsx";
import type { RunSnapshot } from "#lib/contract/dag-runs.ts";
import type { DagDetail } from "#lib/contract/dags.ts";
import { RunHeader } from "./run-header.tsx";
import { TaskTable } from "./task-table.tsx";
import { useRun } from "./use-run.ts";
import { useSelection } from "./use-selection.ts";

type Props = { initial: RunSnapshot; graph: Pick<DagDetail, "tasks" | "types">; serverNow: string };

/** One run, live: header, graph, tasks, and the log of the selected task. */
export function RunView({ initial, graph, serverNow }: Props) {
  const { snapshot, connection } = useRun(initial);
  const { taskId, attempt, level, selectTask, selectAttempt, selectLevel } = useSelection();
  const instances = useMemo(() => new Map(snapshot.tasks.map((task) => [task.taskId, task])), [snapshot.tasks]);
  const selected = taskId === undefined ? undefined : instances.get(taskId);
  // Who opens a failed run wants to know why.
  const shown = selected ?? snapshot.tasks.find((task) => task.state === "failed");
  return (
    <div className="grid gap-4">
      <RunHeader run={snapshot.run} connection={connection} serverNow={serverNow} />
      <Card className="h-[min(26rem,60dvh)]">
        <DagGraph
          tasks={graph.tasks}
          types={graph.types}
          instances={instances}
          selected={selected?.taskId}
          serverNow={serverNow}
          onSelect={selectTask}
        />
      </Card>
      <div className="grid items-start gap-4 xl:grid-cols-2 *:min-w-0">
        <Card>
          <CardHeader>
            <CardTitle>Tasks</CardTitle>
            <span className="text-xs text-ink-soft tabular-nums">{snapshot.tasks.length}</span>
          </CardHeader>
          <TaskTable tasks={snapshot.tasks} selected={selected?.taskId} serverNow={serverNow} onSelect={selectTask} />
        </Card>
        <TaskLog task={shown} attempt={attempt} onAttempt={selectAttempt} level={level} onLevel={selectLevel} />
      </div>
    </div>
  );
}
