import type { DagSpec } from "#lib/domain/dag.ts";
import { SLOT_CLASS_OF, specHash } from "#lib/domain/dag.ts";
import { buildGraph } from "#lib/domain/graph.ts";
import type { Tx } from "./pool.ts";

/**
 * Makes `spec` the DAG's current version; the same hash as the current one makes none. Answers whether anything
 * changed. `file` is where it is defined, relative to the DAGs folder.
 */
export async function publishVersion(tx: Tx, spec: DagSpec, file: string): Promise<"published" | "unchanged"> {
  const hash = specHash(spec);
  await tx.query("select pg_advisory_xact_lock(hashtext('sluice.dag'), hashtext($1))", [spec.id]);
  const { rows } = await tx.query<{ hash: string; file: string; missing: boolean; number: number }>(
    `select v.hash, d.file, d.missing, v.number
       from sluice.dag d join sluice.dag_version v on v.id = d.current_version_id where d.id = $1`,
    [spec.id],
  );
  const current = rows[0];
  if (current?.hash === hash) {
    if (current.file === file && !current.missing) return "unchanged";
    await tx.query("update sluice.dag set file = $2, missing = false where id = $1", [spec.id, file]);
    return "published";
  }
  const versionId = await insertVersion(tx, spec, hash);
  await tx.query(
    `insert into sluice.dag (id, description, owner, tags, file, current_version_id) values ($1, $2, $3, $4, $5, $6)
     on conflict (id) do update set description = excluded.description, owner = excluded.owner, tags = excluded.tags,
       file = excluded.file, missing = false, current_version_id = excluded.current_version_id,
       updated_at = sluice.clock()`,
    [spec.id, spec.description ?? null, spec.owner ?? null, spec.tags, file, versionId],
  );
  return "published";
}

async function insertVersion(tx: Tx, spec: DagSpec, hash: string): Promise<string> {
  const { rows } = await tx.query<{ id: string }>(
    `insert into sluice.dag_version (dag_id, number, hash, spec, bundle)
     select $1, coalesce(max(number), 0) + 1, $2, $3, $4 from sluice.dag_version where dag_id = $1 returning id`,
    [spec.id, hash, JSON.stringify(spec), spec.bundle ?? null],
  );
  const versionId = rows[0]!.id;
  const graph = buildGraph(spec.tasks);
  await tx.query(
    `insert into sluice.dag_task (version_id, ord, task_id, type, queue, slot_class, parents, is_leaf, config)
     select $1, t.ord - 1, t.id, t.type, t.queue, t.slot_class, t.parents, t.is_leaf, t.config
       from rows from (unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), unnest($6::int[]),
                       unnest($7::bool[]), unnest($8::jsonb[]))
            with ordinality t(id, type, queue, slot_class, parents, is_leaf, config, ord)`,
    [
      versionId,
      spec.tasks.map((task) => task.id),
      spec.tasks.map((task) => task.type),
      spec.tasks.map((task) => task.queue),
      spec.tasks.map((task) => SLOT_CLASS_OF[task.type]),
      graph.parents.map((list) => list.length),
      graph.children.map((list) => list.length === 0),
      spec.tasks.map((task) => JSON.stringify(task.config)),
    ],
  );
  const edges = graph.children.flatMap((children, from) => children.map((to) => [from, to] as const));
  await tx.query(
    `insert into sluice.dag_edge (version_id, from_ord, to_ord) select $1, * from unnest($2::int[], $3::int[])`,
    [versionId, edges.map(([from]) => from), edges.map(([, to]) => to)],
  );
  return versionId;
}

/** Keeps the code of a version; content-addressed, so a bundle that is there stays as it is. */
export async function insertBundle(tx: Tx, hash: string, files: Record<string, string>): Promise<void> {
  await tx.query("insert into sluice.bundle (hash, files) values ($1, $2) on conflict (hash) do nothing", [
    hash,
    JSON.stringify(files),
  ]);
}

/** Marks every DAG whose file is not among `files` as missing; answers how many became so. */
export async function markMissing(tx: Tx, files: readonly string[]): Promise<number> {
  const { rowCount } = await tx.query(
    "update sluice.dag set missing = true, updated_at = sluice.clock() where file <> all ($1::text[]) and not missing",
    [files],
  );
  return rowCount ?? 0;
}

/** Replaces the whole list of files that could not be loaded. */
export async function replaceImportErrors(
  tx: Tx,
  errors: readonly { file: string; problems: readonly unknown[] }[],
): Promise<void> {
  await tx.query("delete from sluice.import_error where file <> all ($1::text[])", [errors.map((e) => e.file)]);
  await tx.query(
    `insert into sluice.import_error (file, problems) select * from unnest($1::text[], $2::jsonb[])
     on conflict (file) do update set problems = excluded.problems, seen_at = sluice.clock()
       where import_error.problems <> excluded.problems`,
    [errors.map((e) => e.file), errors.map((e) => JSON.stringify(e.problems))],
  );
}
