import type { FileProblem } from "#lib/domain/definition/problem.ts";
import { storableText } from "#lib/domain/storable.ts";
import type { Db } from "./pool.ts";

export type ImportError = { file: string; problems: readonly FileProblem[] };

/** Pages show them all: a program may throw a message of any length. */
const MAX_TEXT = 10_000;
const MAX_PROBLEMS = 100;

/** What was wrong with files that are not among `files` is over. */
export async function deleteImportErrors(db: Db, files: readonly string[]): Promise<void> {
  await db.query("delete from sluice.import_error where file <> all ($1::text[])", [files]);
}

/** Says why these files could not be loaded. Their messages quote what people and programs wrote, which may be no text. */
export async function writeImportErrors(db: Db, errors: readonly ImportError[]): Promise<void> {
  await db.query(
    `insert into sluice.import_error (file, problems) select * from unnest($1::text[], $2::jsonb[])
     on conflict (file) do update set problems = excluded.problems, seen_at = sluice.clock()
       where import_error.problems <> excluded.problems`,
    [errors.map(({ file }) => file), errors.map(({ problems }) => storable(problems))],
  );
}

function storable(problems: readonly FileProblem[]): string {
  return JSON.stringify(problems.slice(0, MAX_PROBLEMS), (_, value: unknown) =>
    typeof value === "string" ? storableText(shortened(value)) : value,
  );
}

function shortened(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}…`;
}
