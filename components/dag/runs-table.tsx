import Link from "next/link";
import { StateWord } from "#components/state/state-badge.tsx";
import { TriggerKind } from "#components/state/trigger-kind.tsx";
import { Duration } from "#components/time/duration.tsx";
import { Time } from "#components/time/time.tsx";
import { Table, Td, Th, Tr } from "#components/ui/table.tsx";
import type { DagRun } from "#lib/contract/dag-runs.ts";

/** Runs of one DAG, newest first. */
export function RunsTable({ runs, serverNow }: { runs: readonly DagRun[]; serverNow: string }) {
  return (
    <Table>
      <thead className="bg-sunken/60">
        <tr>
          <Th>Run</Th>
          <Th>State</Th>
          <Th>Started by</Th>
          <Th>Started (UTC)</Th>
          <Th className="text-right">Duration</Th>
          <Th className="text-right">Version</Th>
        </tr>
      </thead>
      <tbody>
        {runs.map((run) => (
          <Tr key={run.id} className="hover:bg-sunken/40">
            <Td>
              <Link href={`/runs/${run.id}`} className="font-medium text-accent-text tabular-nums hover:underline">
                #{run.id}
              </Link>
            </Td>
            <Td>
              <StateWord state={run.state} />
            </Td>
            <Td>
              <span className="inline-flex items-center gap-2 align-middle">
                <TriggerKind kind={run.triggerKind} />
                {run.backfillId === null ? null : <span className="tabular-nums">backfill {run.backfillId}</span>}
                <span className="truncate">{run.actor}</span>
              </span>
            </Td>
            <Td>
              <Time at={run.startedAt ?? run.createdAt} />
            </Td>
            <Td className="text-right">
              <Duration startedAt={run.startedAt} endedAt={run.endedAt} serverNow={serverNow} />
            </Td>
            <Td className="text-right tabular-nums">v{run.version}</Td>
          </Tr>
        ))}
      </tbody>
    </Table>
  );
}
