import type { Metadata } from "next";
import Link from "next/link";
import { DagTable } from "#components/dag/dag-table.tsx";
import { ImportErrors } from "#components/dag/import-errors.tsx";
import { NoDags } from "#components/dag/no-dags.tsx";
import { RefreshWhenDue } from "#components/schedule/refresh-when-due.tsx";
import { Button } from "#components/ui/button.tsx";
import { requireUser } from "#lib/auth/session.ts";
import { webDeps } from "#lib/boot.ts";
import { DagId } from "#lib/domain/model/names.ts";
import { listDags, listImportProblems, listRecentRuns } from "#lib/db/dag-reads.ts";

export const metadata: Metadata = { title: "DAGs" };

const PAGE_SIZE = 50;
const RECENT_RUNS = 12;

export default async function DagsPage({ searchParams }: { searchParams: Promise<{ after?: string | string[] }> }) {
  await requireUser("/dags");
  const { after } = await searchParams;
  const cursor = DagId.safeParse(after).data;
  const { prisma, engine, settings } = await webDeps();
  const [{ items, nextCursor }, problems] = await Promise.all([
    listDags(prisma, engine.pool, { limit: PAGE_SIZE, cursor }),
    listImportProblems(prisma),
  ]);
  const recent = await listRecentRuns(
    engine.pool,
    items.map(({ id }) => id),
    RECENT_RUNS,
  );
  const serverNow = new Date().toISOString();
  const nextAt = items.flatMap(({ schedule }) => schedule?.nextRun?.at ?? []).toSorted()[0];
  return (
    <div className="grid gap-4">
      <h1 className="text-xl font-semibold tracking-tight">DAGs</h1>
      <ImportErrors problems={problems} />
      {items.length === 0 ? (
        <NoDags folder={settings.dagsDir} />
      ) : (
        <>
          <DagTable dags={items} recent={recent} serverNow={serverNow} />
          {nextAt === undefined ? null : <RefreshWhenDue at={nextAt} serverNow={serverNow} />}
        </>
      )}
      {nextCursor === null ? null : (
        <Button asChild variant="outline" className="justify-self-center">
          <Link href={`/dags?after=${nextCursor}`}>More DAGs</Link>
        </Button>
      )}
    </div>
  );
}
