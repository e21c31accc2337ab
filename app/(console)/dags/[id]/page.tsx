import type { Metadata } from "next";
import Link from "next/link";
import { notFound } from "next/navigation";
import { DagHeader } from "#components/dag/dag-header.tsx";
import { RunsTable } from "#components/dag/runs-table.tsx";
import { DagGraph } from "#components/graph/dag-graph.tsx";
import { PausedBanner } from "#components/schedule/paused-banner.tsx";
import { RefreshWhenDue } from "#components/schedule/refresh-when-due.tsx";
import { ScheduleCard } from "#components/schedule/schedule-card.tsx";
import { Button } from "#components/ui/button.tsx";
import { Card, CardHeader, CardTitle } from "#components/ui/card.tsx";
import { requireUser } from "#lib/auth/session.ts";
import { webDeps } from "#lib/boot.ts";
import { findDag } from "#lib/db/dag-reads.ts";
import { previewSchedules } from "#lib/db/dag-schedule-reads.ts";
import { listRuns } from "#lib/db/run-reads.ts";
import { DagId } from "#lib/domain/model/names.ts";
import { isId } from "#lib/domain/ids.ts";

type Props = { params: Promise<{ id: string }>; searchParams: Promise<{ before?: string | string[] }> };

const PAGE_SIZE = 25;
const UPCOMING = 10;

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  return { title: (await params).id };
}

export default async function DagPage({ params, searchParams }: Props) {
  const { id } = await params;
  await requireUser(`/dags/${id}`);
  if (!DagId.safeParse(id).success) notFound();
  const { before } = await searchParams;
  const cursor = typeof before === "string" && isId(before) ? before : undefined;
  const { prisma, engine } = await webDeps();
  const [dag, runs, preview] = await Promise.all([
    findDag(prisma, engine.pool, id),
    listRuns(engine.pool, { dagId: id, limit: PAGE_SIZE, cursor }),
    previewSchedules(engine.pool, id, UPCOMING),
  ]);
  if (dag === undefined) notFound();
  const serverNow = new Date().toISOString();
  const nextAt = dag.schedule?.nextRun?.at;
  return (
    <div className="grid gap-4">
      <DagHeader dag={dag} serverNow={preview.now} />
      <PausedBanner dag={dag} />
      <Card className="h-[min(22rem,50dvh)]">
        <DagGraph tasks={dag.tasks} types={dag.types} serverNow={serverNow} />
      </Card>
      <div className="grid items-start gap-4 xl:grid-cols-[minmax(0,1fr)_28rem]">
        <div className="grid min-w-0 gap-4">
          <Card>
            <CardHeader>
              <CardTitle>Runs</CardTitle>
            </CardHeader>
            {runs.items.length === 0 ? (
              <p className="p-4 text-ink-soft">No runs yet.{dag.missing ? null : " Trigger starts the first one."}</p>
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
        <ScheduleCard dag={dag} preview={preview} />
      </div>
      {nextAt === undefined ? null : <RefreshWhenDue at={nextAt} serverNow={preview.now} />}
    </div>
  );
}
