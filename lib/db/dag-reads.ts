import { z } from "zod";
import type { Dag, DagDetail } from "#lib/contract/dags.ts";
import type { ScheduleSummary } from "#lib/contract/schedules.ts";
import { DagSpec, typeLooks } from "#lib/domain/model/dag.ts";
import { RUN_STATES, type RunState } from "#lib/domain/states.ts";
import { findSchedules, listScheduleSummaries } from "./dag-schedule-reads.ts";
import type { Db } from "./pool.ts";
import type { PrismaClient } from "./prisma.ts";

type DagRow = {
  id: string;
  description: string | null;
  owner: string | null;
  tags: string[];
  file: string;
  missing: boolean;
  pausedBy: string | null;
  pausedAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
  currentVersion: { number: number };
};

/** DAGs by id, after `cursor`. */
export async function listDags(
  prisma: PrismaClient,
  db: Db,
  page: { limit: number; cursor?: string | undefined },
): Promise<{ items: Dag[]; nextCursor: string | null }> {
  const rows = await prisma.dag.findMany({
    where: page.cursor === undefined ? {} : { id: { gt: page.cursor } },
    orderBy: { id: "asc" },
    take: page.limit + 1,
    include: { currentVersion: { select: { number: true } } },
  });
  const shown = rows.slice(0, page.limit);
  const ids = shown.map(({ id }) => id);
  const summaries = await listScheduleSummaries(db, ids);
  const items = shown.map((row) => toDag(row, summaries.get(row.id)));
  return { items, nextCursor: rows.length > page.limit ? (items.at(-1)?.id ?? null) : null };
}

/** One DAG with the tasks of its current version. */
export async function findDag(prisma: PrismaClient, db: Db, dagId: string): Promise<DagDetail | undefined> {
  const row = await prisma.dag.findUnique({
    where: { id: dagId },
    include: { currentVersion: { select: { number: true, spec: true } } },
  });
  if (row === null) return undefined;
  const { summary, ...schedules } = await findSchedules(db, dagId);
  return { ...toDag(row, summary), ...schedules, ...toGraph(row.currentVersion.spec) };
}

type Graph = Pick<DagDetail, "tasks" | "types">;

/** The tasks of one version and what people see of their types, by which a run's graph is drawn. */
export async function findVersionGraph(prisma: PrismaClient, dagId: string, number: number): Promise<Graph> {
  const row = await prisma.dagVersion.findUnique({
    where: { dagId_number: { dagId, number } },
    select: { spec: true },
  });
  return row === null ? { tasks: [], types: {} } : toGraph(row.spec);
}

/** A recent run, as small as a bar in the list needs it. */
export type RecentRun = { id: string; state: RunState; startedAt: string | null; endedAt: string | null };

const RecentRows = z.array(
  z.object({
    dagId: z.string(),
    id: z.string(),
    state: z.enum(RUN_STATES),
    startedAt: z.date().nullable(),
    endedAt: z.date().nullable(),
  }),
);

/** The last runs of each of these DAGs, oldest first. */
export async function listRecentRuns(
  db: Db,
  dagIds: readonly string[],
  perDag: number,
): Promise<Map<string, RecentRun[]>> {
  const { rows } = await db.query({
    name: "list-recent-runs",
    text: `select d.id as "dagId", r.id::text, r.state, r.started_at as "startedAt", r.ended_at as "endedAt"
           from unnest($1::text[]) d(id)
           cross join lateral (
             select id, state, started_at, ended_at from sluice.dag_run
             where dag_id = d.id order by id desc limit $2
           ) r order by d.id, r.id`,
    values: [dagIds, perDag],
  });
  const runs = RecentRows.parse(rows).map(({ dagId, startedAt, endedAt, ...run }) => ({
    dagId,
    run: { ...run, startedAt: startedAt?.toISOString() ?? null, endedAt: endedAt?.toISOString() ?? null },
  }));
  const byDag = Map.groupBy(runs, ({ dagId }) => dagId);
  return new Map([...byDag].map(([dagId, entries]) => [dagId, entries.map(({ run }) => run)]));
}

const Problems = z.array(z.object({ line: z.number(), column: z.number(), message: z.string() }));
export type ImportProblem = { file: string; line: number; column: number; message: string };

/** What is wrong in files of the DAGs folder right now. */
export async function listImportProblems(prisma: PrismaClient): Promise<ImportProblem[]> {
  const rows = await prisma.importError.findMany({ orderBy: { file: "asc" }, take: 100 });
  return rows.flatMap((row) => Problems.parse(row.problems).map((problem) => ({ ...problem, file: row.file })));
}

function toDag({ currentVersion, createdAt, updatedAt, ...row }: DagRow, schedule: ScheduleSummary | undefined): Dag {
  const { id, description, owner, tags, file, missing, pausedBy, pausedAt } = row;
  const pause = { paused: pausedBy !== null, pausedBy, pausedAt: pausedAt?.toISOString() ?? null };
  const times = { createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString() };
  const version = currentVersion.number;
  return { id, description, owner, tags, file, missing, version, ...pause, schedule: schedule ?? null, ...times };
}

function toGraph(stored: unknown): Graph {
  const spec = DagSpec.parse(stored);
  const tasks = spec.tasks.map(({ id, type, queue, dependsOn }) => ({ id, type, queue, dependsOn }));
  return { tasks, types: typeLooks(spec) };
}
