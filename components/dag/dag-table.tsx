import { FileX2 } from "lucide-react";
import Link from "next/link";
import { Badge } from "#components/ui/badge.tsx";
import { Card } from "#components/ui/card.tsx";
import { Table, Td, Th, Tr } from "#components/ui/table.tsx";
import type { Dag } from "#lib/contract/dags.ts";
import { PauseToggle } from "#components/schedule/pause-toggle.tsx";
import { ScheduleCell } from "#components/schedule/schedule-cell.tsx";
import { formatTime } from "#components/time/format.ts";
import { type Bar, RunBars } from "./run-bars.tsx";
import { TriggerButton } from "./trigger-button.tsx";

type Props = { dags: readonly Dag[]; recent: ReadonlyMap<string, readonly Bar[]>; serverNow: string };

/** All DAGs with what their last runs did. */
export function DagTable({ dags, recent, serverNow }: Props) {
  const nowMs = Date.parse(serverNow);
  return (
    <Card>
      <Table>
        <thead className="bg-sunken/60">
          <tr>
            <Th className="pr-0">
              <span className="sr-only">Active</span>
            </Th>
            <Th>DAG</Th>
            <Th className="hidden lg:table-cell">Schedule</Th>
            <Th>Latest runs</Th>
            <Th className="hidden md:table-cell">Owner</Th>
            <Th className="hidden md:table-cell">File</Th>
            <Th className="text-right">
              <span className="sr-only">Actions</span>
            </Th>
          </tr>
        </thead>
        <tbody>
          {dags.map((dag) => (
            <Tr key={dag.id} className="hover:bg-sunken/40">
              <Td className="pr-0">
                <PauseToggle dagId={dag.id} paused={dag.paused} title={pauseTitle(dag)} />
              </Td>
              <Td className="w-3/5 max-w-0 min-w-40 py-2 max-sm:px-2">
                <DagName dag={dag} />
                <ScheduleCell dag={dag} serverNow={serverNow} className="mt-1 lg:hidden" />
              </Td>
              <Td className="hidden w-2/5 max-w-0 min-w-64 lg:table-cell">
                <ScheduleCell dag={dag} serverNow={serverNow} />
              </Td>
              <Td>
                <RunBars runs={recent.get(dag.id) ?? []} nowMs={nowMs} />
              </Td>
              <Td className="hidden whitespace-nowrap text-ink-soft md:table-cell">{dag.owner ?? "–"}</Td>
              <Td className="hidden font-mono text-xs whitespace-nowrap text-ink-soft md:table-cell">{dag.file}</Td>
              <Td className="text-right">
                <TriggerButton compact dagId={dag.id} name={`Trigger ${dag.id}`} disabled={dag.missing} />
              </Td>
            </Tr>
          ))}
        </tbody>
      </Table>
    </Card>
  );
}

function pauseTitle({ paused, pausedBy, pausedAt }: Dag): string {
  if (!paused) return "Active. Pausing it stops its schedules and starts none of its tasks.";
  return `Paused by ${pausedBy} since ${formatTime(pausedAt!)} UTC. Runs that were due meanwhile will not start.`;
}

function DagName({ dag }: { dag: Dag }) {
  return (
    <div className="grid gap-0.5">
      <div className="flex flex-wrap items-center gap-1.5">
        <Link href={`/dags/${dag.id}`} className="font-medium text-accent-text hover:underline">
          {dag.id}
        </Link>
        {dag.tags.map((tag) => (
          <Badge key={tag}>{tag}</Badge>
        ))}
        {dag.missing ? <MissingBadge /> : null}
      </div>
      {dag.description === null ? null : <p className="truncate text-xs text-ink-soft">{dag.description}</p>}
    </div>
  );
}

/** The file is gone; said wherever the DAG is shown. */
export function MissingBadge() {
  return (
    <Badge className="border-failed/40 text-danger">
      <FileX2 aria-hidden className="size-3" />
      File is gone
    </Badge>
  );
}
