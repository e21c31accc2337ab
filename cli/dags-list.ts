import { Command } from "commander";
import type { Dag } from "#lib/contract/dags.ts";
import type { ImportProblem } from "#lib/db/dag-reads.ts";
import { type OpenDatabase, withDatabase } from "./database.ts";
import { usageIsTrouble } from "./exit.ts";
import { count, printJson, printLine, table } from "./print.ts";

const PAGE = 200;

/** `sluice dags list` */
export function listCommand(): Command {
  return usageIsTrouble(new Command("list"))
    .description("The DAGs in the database: version, state, tags and file.")
    .option("--tag <tag>", "only DAGs with this tag")
    .option("--json", "print {dags, problems} as JSON")
    .addHelpText(
      "after",
      `
State: ok; missing, its file is gone and no new runs start; broken, its file cannot be loaded and the last good
version stays in use.

Examples:
  $ sluice dags list
  $ sluice dags list --tag nightly --json`,
    )
    .action(list);
}

type Row = Dag & { state: "ok" | "missing" | "broken" };

async function list(options: { tag?: string; json?: true }): Promise<void> {
  const { dags, problems } = await withDatabase("dags-list", readAll);
  const rows = dags
    .filter((dag) => options.tag === undefined || dag.tags.includes(options.tag))
    .map((dag): Row => ({ ...dag, state: stateOf(dag, problems) }));
  if (options.json) return printJson({ dags: rows, problems });
  for (const line of listLines(rows)) printLine(line);
  const files = new Set(problems.map((problem) => problem.file));
  if (files.size > 0) {
    process.stderr.write(
      `sluice: ${count(files.size, "file")} cannot be loaded: ${[...files].join(", ")} (\`sluice dags validate\` says why)\n`,
    );
  }
}

async function readAll({ prisma, pool }: OpenDatabase): Promise<{ dags: Dag[]; problems: ImportProblem[] }> {
  const { listDags, listImportProblems } = await import("#lib/db/dag-reads.ts");
  const dags: Dag[] = [];
  let cursor: string | undefined;
  do {
    const page = await listDags(prisma, pool, { limit: PAGE, cursor });
    dags.push(...page.items);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return { dags, problems: await listImportProblems(prisma) };
}

function stateOf(dag: Dag, problems: readonly ImportProblem[]): Row["state"] {
  if (dag.missing) return "missing";
  return problems.some((problem) => problem.file === dag.file) ? "broken" : "ok";
}

/** The table people see. */
export function listLines(rows: readonly Pick<Row, "id" | "version" | "state" | "tags" | "file">[]): string[] {
  if (rows.length === 0) return ["No DAGs"];
  return table(
    ["id", "version", "state", "tags", "file"],
    rows.map((row) => [row.id, String(row.version), row.state, row.tags.join(",") || "-", row.file]),
  );
}
