import type { Metadata } from "next";
import Link from "next/link";
import { notFound } from "next/navigation";
import { DagHeader } from "#components/dag/dag-header.tsx";
import { RunsTable } from "#components/dag/runs-table.tsx";
import { DagGraph } from "#components/graph/dag-graph.tsx";
import { Button } from "#components/ui/button.tsx";
import { Card, CardHeader, CardTitle } from "#components/ui/card.tsx";
import { requireUser } from "#lib/auth/session.ts";
import { webDeps } from "#lib/boot.ts";
import { findDag } from "#lib/db/dag-reads.ts";
import { listRuns } from "#lib/db/run-reads.ts";
import { isId } from "#lib/domain/ids.ts";

type Props = { params: Promise<{ id: string }>; searchParams: Promise<{ before?: string | string[] }> };

const PAGE_SIZE = 25;

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  return { title: (await params).id };
}

export default async function DagPage({ params, searchParams }: Props) {
  const { id } = await params;
  await requireUser(`/dags/${id}`);
  const { before } = await searchParams;
  const cursor = typeof before === "string" && isId(before) ? before : undefined;
  const { prisma, engine } = await webDeps();
  const [dag, runs] = await Promise.all([
    findDag(prisma, id),
    listRuns(engine.pool, { dagId: id, limit: PAGE_SIZE, cursor }),
  ]);
  if (dag === undefined) notFound();
  const serverNow = new Date().toISOString();
  return (
    <div className="grid gap-4">
      <DagHeader dag={dag} />
      <Card className="h-[min(22rem,50dvh)]">
        <DagGraph tasks={dag.tasks} types={dag.types} serverNow={serverNow} />
      </Card>
      <Card>
        <CardHeader>
          <CardTitle>Runs</CardTitle>
        </CardHeader>
        {runs.items.length === 0 ? (
          <p className="p-4 text-ink-soft">No runs yet. Trigger starts the first one.</p>
        ) : (
          <RunsTable runs={runs.items} serverNow={serverNow} />
        )}
      </Card>
      {runs.nextCursor === null ? null : (
        <Button asChild variant="outline" className="justify-self-center">
          <Link href={`/dags/${id}?before=${runs.nextCursor}`}>Older runs</Link>
        </Button>
      )}
    </div>
  );
}
