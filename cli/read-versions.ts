import { InvalidArgumentError } from "commander";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { type OpenDatabase, withDatabase } from "./database.ts";
import { trouble } from "./exit.ts";

export type VersionLine = { number: number; author: string; note: string | null; createdAt: string };

/** One version of a DAG; `current` is the number of the one that runs now, `file` where that is defined. */
export type Version = VersionLine & { dagId: string; file: string; current: number; spec: DagSpec };

/** A version of a DAG, the current one unless numbered; ends the process when there is none. */
export async function versionOrExit(dagId: string, number?: number): Promise<Version> {
  return withDatabase("dags-version", async (database) => {
    const { version: current, file } = await dagOrExit(database, dagId);
    const { DagSpec } = await import("#lib/domain/model/dag.ts");
    const row = await database.prisma.dagVersion.findUnique({
      where: { dagId_number: { dagId, number: number ?? current } },
      select: { number: true, author: true, note: true, createdAt: true, spec: true },
    });
    if (row === null) return trouble(`"${dagId}" has no version ${number}; the current one is ${current}`);
    const { spec, createdAt, ...line } = row;
    return { dagId, file, current, ...line, createdAt: createdAt.toISOString(), spec: DagSpec.parse(spec) };
  });
}

/** All versions of a DAG, the newest first; ends the process when there is no such DAG. */
export async function versionsOrExit(dagId: string): Promise<{ current: number; versions: VersionLine[] }> {
  return withDatabase("dags-versions", async (database) => {
    const { version: current } = await dagOrExit(database, dagId);
    const rows = await database.prisma.dagVersion.findMany({
      where: { dagId },
      orderBy: { number: "desc" },
      select: { number: true, author: true, note: true, createdAt: true },
    });
    const versions = rows.map(({ createdAt, ...row }) => ({ ...row, createdAt: createdAt.toISOString() }));
    return { current, versions };
  });
}

async function dagOrExit({ prisma, pool }: OpenDatabase, dagId: string): Promise<{ version: number; file: string }> {
  const { findDag } = await import("#lib/db/dag-reads.ts");
  const dag = await findDag(prisma, pool, dagId);
  return dag ?? trouble(`there is no DAG "${dagId}"; \`sluice dags list\` lists them`);
}

/** A version's number as an option. */
export function parseNumber(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a version's number, like 3.");
}
