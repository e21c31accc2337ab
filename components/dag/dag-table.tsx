import { FileX2 } from "lucide-react";
import Link from "next/link";
import { Badge } from "#components/ui/badge.tsx";
import { Card } from "#components/ui/card.tsx";
import { Table, Td, Th, Tr } from "#components/ui/table.tsx";
import type { Dag } from "#lib/contract/dags.ts";
import { type Bar, RunBars } from "./run-bars.tsx";
import { TriggerButton } from "./trigger-button.tsx";

type Props = { dags: readonly Dag[]; recent: ReadonlyMap<string, readonly Bar[]>; nowMs: number };

/** All DAGs with what their last runs did. */
export function DagTable({ dags, recent, nowMs }: Props) {
  return (
    <Card>
      <Table>
        <thead className="bg-sunken/60">
          <tr>
            <Th>DAG</Th>
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
              <Td className="w-full max-w-0 min-w-40 py-2">
                <DagName dag={dag} />
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
