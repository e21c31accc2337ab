import os from "node:os";
import { deleteImportErrors, type ImportError, writeImportErrors } from "#lib/db/import-errors.ts";
import type { Tx } from "#lib/db/pool.ts";
import { insertBundle, markMissing, publishVersion, type PublishedDag, readPublished } from "#lib/db/versions.ts";
import type { FileProblem } from "#lib/domain/definition/parse.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { specHash } from "#lib/domain/model/dag.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { effects } from "#lib/engine/effects.ts";
import { followUp } from "#lib/engine/follow-up.ts";
import type { LoadedDag } from "./load-file.ts";
import { createParts, type Parts } from "./parts.ts";

export type OwnedDag = { file: string; dag: LoadedDag };

/** What a look has found in the folder. */
export type Found = {
  dags: readonly OwnedDag[];
  /** Why files could not be loaded. */
  errors: ReadonlyMap<string, FileProblem[]>;
  /** True for a file that is there, or may be. */
  isThere: (file: string) => boolean;
};

export type Outcome = {
  /** Why files are not what runs: those of `Found`, and those that the database did not take. */
  errors: Map<string, FileProblem[]>;
  /** Of those, the files that it never takes as they are. */
  refused: string[];
  /** Files that it did not take for another reason: to be tried again in a while. */
  failed: string[];
  /** What lost a race or waited for others' locks in vain: to be tried again at once. */
  contended: { part: string; error: unknown }[];
};

/**
 * Makes the database what the folder says, part by part: whatever becomes of one DAG, the others are published, those whose files
 * are gone are marked as missing, and of each file that is not what runs it is said why. Throws only when the database is away.
 */
export async function publish(deps: EngineDeps, found: Found): Promise<Outcome> {
  const parts = createParts(deps.pool);
  const published = await readPublished(deps.pool);
  const outcome: Outcome = { errors: new Map(found.errors), refused: [], failed: [], contended: parts.contended };
  const changed: string[] = [];
  for (const owned of found.dags) {
    const { file, dag } = owned;
    const done = await parts.attempt(file, async () => {
      if (isPublished(published.get(dag.spec.id), owned)) return "unchanged";
      return parts.inTx((tx) => publishOne(tx, owned));
    });
    if (done.kind === "done") {
      if (done.result === "unchanged") continue;
      changed.push(dag.spec.id);
      deps.notifier.announce("sluice_schedules", [dag.spec.id]);
      deps.log.info({ dag: dag.spec.id, file }, "DAG loaded");
    } else if (done.kind !== "contended") {
      outcome[done.kind].push(file);
      outcome.errors.set(file, plainProblem(file, `the DAG cannot be stored: ${messageOf(done.error)}`));
    }
  }
  await markGone(parts, found, published, outcome);
  await tellErrors(deps, parts, outcome);
  // Their limits of active runs may be higher.
  await parts.attempt("the runs that have room now", () => followUp(deps, effects({ dagsWithRoom: changed })));
  return outcome;
}

async function publishOne(tx: Tx, { file, dag }: OwnedDag): Promise<"published" | "unchanged"> {
  if (dag.spec.bundle !== undefined) await insertBundle(tx, dag.spec.bundle, dag.files);
  return publishVersion(tx, dag.spec, { file, source: dag.source, author: `loader@${os.hostname()}` });
}

/** A DAG that is looked at in every pass is hashed in the first. */
const hashes = new WeakMap<LoadedDag, string>();

function isPublished(published: PublishedDag | undefined, { file, dag }: OwnedDag): boolean {
  const hash = hashes.get(dag) ?? specHash(dag.spec);
  hashes.set(dag, hash);
  return published?.file === file && !published.missing && published.hash === hash;
}

/** A DAG that is in another file now is not gone, unless that file was refused: then nothing of it can be run. */
async function markGone(
  parts: Parts,
  { dags, isThere }: Found,
  published: ReadonlyMap<string, PublishedDag>,
  { refused }: Outcome,
): Promise<void> {
  const kept = new Set(dags.filter(({ file }) => !refused.includes(file)).map(({ dag }) => dag.spec.id));
  for (const [id, { file, missing }] of published) {
    if (missing || kept.has(id) || isThere(file)) continue;
    await parts.attempt(`${file}, which is gone`, () => parts.inTx((tx) => markMissing(tx, id, file)));
  }
}

async function tellErrors({ pool, log }: EngineDeps, parts: Parts, { errors, contended }: Outcome): Promise<void> {
  // What was said of a file that is still to be published stays.
  const files = [...errors.keys(), ...contended.map(({ part }) => part)];
  await parts.attempt("errors that are over", () => deleteImportErrors(pool, files));
  const all: ImportError[] = [...errors].map(([file, problems]) => ({ file, problems }));
  const write = (some: ImportError[]) => parts.attempt("errors of files", () => writeImportErrors(pool, some));
  const together = await write(all);
  if (together.kind === "done" || together.kind === "contended") return;
  for (const one of all) {
    const alone = await write([one]);
    if (alone.kind === "refused" || alone.kind === "failed")
      log.error({ file: one.file, error: messageOf(alone.error) }, "why a DAG file cannot be loaded cannot be stored");
  }
}

export function plainProblem(file: string, message: string): FileProblem[] {
  return [{ file, line: 1, column: 1, message }];
}
