import type { Metadata } from "next";
import { notFound } from "next/navigation";
import { RunView } from "#components/run/run-view.tsx";
import { requireUser } from "#lib/auth/session.ts";
import { webDeps } from "#lib/boot.ts";
import { findVersionGraph } from "#lib/db/dag-reads.ts";
import { findRun, listRunTasks } from "#lib/db/run-reads.ts";
import { isId } from "#lib/domain/ids.ts";

type Props = { params: Promise<{ id: string }>; searchParams: Promise<Record<string, string | string[] | undefined>> };

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  return { title: `Run ${(await params).id}` };
}

export default async function RunPage({ params, searchParams }: Props) {
  const { id } = await params;
  await requireUser(pathOf(id, await searchParams));
  if (!isId(id)) notFound();
  const { prisma, engine } = await webDeps();
  const run = await findRun(engine.pool, id);
  if (run === undefined) notFound();
  const [tasks, graph] = await Promise.all([
    listRunTasks(engine.pool, id),
    findVersionGraph(prisma, run.dagId, run.version),
  ]);
  return <RunView key={id} initial={{ run, tasks }} graph={graph} serverNow={new Date().toISOString()} />;
}

/** The whole address: after the sign-in the linked task is selected again. */
function pathOf(id: string, search: Record<string, string | string[] | undefined>): string {
  const entries = Object.entries(search).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  const query = new URLSearchParams(entries).toString();
  return `/runs/${encodeURIComponent(id)}${query === "" ? "" : `?${query}`}`;
}
