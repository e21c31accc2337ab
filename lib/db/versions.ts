import { calledEvents } from "#lib/domain/model/callbacks.ts";
import { canonicalJson } from "#lib/domain/canonical.ts";
import { compactSpec, DagSpec, specHash } from "#lib/domain/model/dag.ts";
import { RETENTIONS } from "#lib/domain/model/retention.ts";
import { definedSchedules } from "#lib/domain/schedule/definition.ts";
import type { Db, Tx } from "./pool.ts";
import { lockSchedules, lookAtSchedules, replaceSchedules } from "./schedules.ts";
import { insertVersionTasks } from "./version-tasks.ts";

/**
 * Where a version comes from: its file, relative to the DAGs folder, the text of it, and who put it
 * there.
 */
export type VersionOrigin = { file: string; source: string; author: string };

/**
 * Makes the spec that was read from a file the DAG's current version, when it is not what was last
 * read there. Answers whether anything changed.
 */
export async function publishVersion(tx: Tx, spec: DagSpec, origin: VersionOrigin): Promise<"published" | "unchanged"> {
  const { file } = origin;
  const hash = specHash(spec);
  await tx.query("select pg_advisory_xact_lock(hashtext('sluice.dag'), hashtext($1))", [spec.id]);
  const { rows } = await tx.query<{ hash: string; file: string; missing: boolean }>(
    "select file_hash as hash, file, missing from sluice.dag where id = $1",
    [spec.id],
  );
  const current = rows[0];
  if (current?.hash === hash && current.file === file && !current.missing) return "unchanged";
  await lockSchedules(tx, spec.id);
  if (current?.hash === hash) {
    await tx.query("update sluice.dag set file = $2, missing = false where id = $1", [spec.id, file]);
    await lookAtSchedules(tx, spec.id);
    return "published";
  }
  const versionId = await insertVersion(tx, spec, { ...origin, hash, note: null });
  await tx.query(
    `insert into sluice.dag (id, name, description, owner, tags, file, file_hash, current_version_id,
       max_active_runs, max_active_tasks, max_active_tasks_per_run, keep_days)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
     on conflict (id) do update set name = excluded.name, description = excluded.description, owner = excluded.owner, tags = excluded.tags,
       file = excluded.file, file_hash = excluded.file_hash, missing = false, current_version_id = excluded.current_version_id, max_active_runs = excluded.max_active_runs,
       max_active_tasks = excluded.max_active_tasks, max_active_tasks_per_run = excluded.max_active_tasks_per_run,
       keep_days = excluded.keep_days, updated_at = sluice.clock()`,
    [
      spec.id,
      spec.name ?? null,
      spec.description ?? null,
      spec.owner ?? null,
      spec.tags,
      file,
      hash,
      versionId,
      spec.limits.maxActiveRuns,
      spec.limits.maxActiveTasks ?? null,
      spec.limits.maxActiveTasksPerRun ?? null,
      await keepDaysOf(tx, spec),
    ],
  );
  await replaceSchedules(tx, spec.id, definedSchedules(spec));
  return "published";
}

export type Republished =
  | { kind: "published"; number: number }
  | { kind: "no_dag" }
  | { kind: "no_version" }
  | { kind: "same" };

/**
 * The spec of an earlier version as a new, current one. `file_hash` stays: the loader publishes the
 * file again when it says something else than it did, and not before.
 */
export async function republishVersion(tx: Tx, dagId: string, number: number, author: string): Promise<Republished> {
  await tx.query("select pg_advisory_xact_lock(hashtext('sluice.dag'), hashtext($1))", [dagId]);
  const { rows } = await tx.query<{ currentHash: string; hash: string | null; spec: unknown; source: string | null }>(
    `select c.hash as "currentHash", v.hash, v.spec, v.source
       from sluice.dag d join sluice.dag_version c on c.id = d.current_version_id
       left join sluice.dag_version v on v.dag_id = d.id and v.number = $2
      where d.id = $1`,
    [dagId, number],
  );
  const found = rows[0];
  if (found === undefined) return { kind: "no_dag" };
  if (found.hash === null) return { kind: "no_version" };
  if (found.hash === found.currentHash) return { kind: "same" };
  const spec = DagSpec.parse(found.spec);
  const { hash, source } = found;
  if (!(await lockBundle(tx, spec.bundle))) return { kind: "no_version" };
  await lockSchedules(tx, dagId);
  const versionId = await insertVersion(tx, spec, { hash, source, author, note: `rollback to version ${number}` });
  const { limits } = spec;
  const updated = await tx.query<{ number: number }>(
    `update sluice.dag d set name = $2, description = $3, owner = $4, tags = $5, current_version_id = v.id,
       max_active_runs = $7, max_active_tasks = $8, max_active_tasks_per_run = $9, keep_days = $10, updated_at = sluice.clock()
       from sluice.dag_version v where d.id = $1 and v.id = $6 returning v.number`,
    [
      dagId,
      spec.name ?? null,
      spec.description ?? null,
      spec.owner ?? null,
      spec.tags,
      versionId,
      limits.maxActiveRuns,
      limits.maxActiveTasks ?? null,
      limits.maxActiveTasksPerRun ?? null,
      await keepDaysOf(tx, spec),
    ],
  );
  await replaceSchedules(tx, dagId, definedSchedules(spec));
  return { kind: "published", number: updated.rows[0]!.number };
}

/** Keeps a bundle from being deleted with the last version that has it. False when it is gone. */
async function lockBundle(tx: Tx, hash: string | undefined): Promise<boolean> {
  if (hash === undefined) return true;
  const { rowCount } = await tx.query("select from sluice.bundle where hash = $1 for key share", [hash]);
  return rowCount === 1;
}

type NewVersion = { hash: string; source: string | null; author: string; note: string | null };

async function insertVersion(tx: Tx, spec: DagSpec, { hash, source, author, note }: NewVersion): Promise<string> {
  const compact = compactSpec(spec);
  const { rows } = await tx.query<{ id: string }>(
    `insert into sluice.dag_version (dag_id, number, hash, spec, bundle, params, source, author, note, calls, task_calls)
     select $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9, $10 from sluice.dag_version where dag_id = $1 returning id`,
    [
      spec.id,
      hash,
      canonicalJson(compact),
      spec.bundle ?? null,
      paramsOf(spec),
      source,
      author,
      note,
      calledEvents(spec.callbacks),
      spec.tasks.some((task) => calledEvents(task.callbacks).length > 0),
    ],
  );
  const versionId = rows[0]!.id;
  await insertVersionTasks(tx, versionId, spec, compact.tasks);
  return versionId;
}

/** Null when it is the default's; otherwise there are partitions for its runs. */
async function keepDaysOf(tx: Tx, { id, retention }: DagSpec): Promise<number | null> {
  if (retention === undefined) return null;
  const keepDays = RETENTIONS[retention];
  await tx.query("select sluice.ensure_class($1, $2)", [keepDays, id]);
  return keepDays;
}

/** What is published of a DAG, as its file was last read. */
export type PublishedDag = { file: string; hash: string; missing: boolean };

/** Every DAG there is, by id. */
export async function readPublished(db: Db): Promise<Map<string, PublishedDag>> {
  const { rows } = await db.query<PublishedDag & { id: string }>(
    "select id, file, file_hash as hash, missing from sluice.dag",
  );
  return new Map(rows.map(({ id, ...dag }) => [id, dag]));
}

/**
 * Keeps the code of a version; content-addressed, so a bundle that is there stays as it is. It is
 * locked until the end of the transaction, which is to insert the version: a scheduler deletes
 * bundles that no version has.
 */
export async function insertBundle(tx: Tx, hash: string, files: Record<string, string>): Promise<void> {
  await tx.query(
    `insert into sluice.bundle (hash, files) values ($1, $2)
     on conflict (hash) do update set hash = excluded.hash`,
    [hash, JSON.stringify(files)],
  );
}

/** Marks the DAG as missing when this, which is gone, is still its file. */
export async function markMissing(tx: Tx, dagId: string, file: string): Promise<void> {
  await lockSchedules(tx, dagId);
  const { rowCount } = await tx.query(
    "update sluice.dag set missing = true, updated_at = sluice.clock() where id = $1 and file = $2 and not missing",
    [dagId, file],
  );
  if (rowCount === 1) await lookAtSchedules(tx, dagId);
}

/** Null when there are none, so that starting a run of such a DAG has nothing to read. */
function paramsOf({ params }: DagSpec): string | null {
  return Object.keys(params).length === 0 ? null : JSON.stringify(params);
}
