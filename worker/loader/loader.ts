import { setImmediate as nextTurn } from "node:timers/promises";
import os from "node:os";
import type { FileProblem } from "#lib/domain/definition/parse.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { specHash } from "#lib/domain/model/dag.ts";
import { inTx } from "#lib/db/tx.ts";
import {
  insertBundle,
  markMissing,
  publishVersion,
  type PublishedDag,
  readPublished,
  replaceImportErrors,
} from "#lib/db/versions.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { effects } from "#lib/engine/effects.ts";
import { followUp } from "#lib/engine/follow-up.ts";
import { type DescribedPlugins, NO_DESCRIBED } from "../plugins/describe.ts";
import { createEvaluator, type Evaluator } from "./evaluator.ts";
import { loadFile, type LoadedDag, type LoadResult } from "./load-file.ts";
import type { Marks } from "./program-files.ts";
import { findSources, isDefinition, markOf } from "./source-files.ts";

/** Children that evaluate at once; each costs a Node process while there is something to evaluate. */
const EVALUATORS = 2;

export type Loader = {
  /**
   * Looks at the folder, loads what has changed since the last look and publishes what is different. A call during
   * another waits for that one.
   */
  pass(): Promise<void>;
};

/** What became of a file, and the mark of everything it was made from. */
type Loaded = { result: LoadResult; sources: Map<string, string> };
type OwnedDag = { file: string; dag: LoadedDag };

type LoaderOptions = {
  deps: EngineDeps;
  dagsDir: string;
  env: Record<string, string>;
  plugins?: DescribedPlugins | undefined;
};

/**
 * Publishes the definitions of a folder. A file is loaded again when it, or a module it imports, has another size or
 * time. A broken file is reported and the last good version of its DAG stays in use. What is published already is
 * only compared: a start over an unchanged folder writes nothing.
 */
export function createLoader(options: LoaderOptions): Loader {
  const { deps, dagsDir } = options;
  let known = new Map<string, Loaded>();
  let seen: string | undefined;

  let running: Promise<void> | undefined;

  const look = async (): Promise<void> => {
    const listed = await findSources(dagsDir);
    const programs = await marksOf(dagsDir, known);
    const signature = JSON.stringify([...listed]);
    if (signature === seen && [...known.values()].every((loaded) => hasItsPrograms(loaded, programs))) return;
    const sources = new Map([...listed, ...programs]);
    const files = [...sources.keys()].filter(isDefinition);
    const kept = files.flatMap((file): [string, Loaded][] => {
      const before = known.get(file);
      return before !== undefined && isCurrent(before, sources) ? [[file, before]] : [];
    });
    const next = new Map(kept);
    const fresh = await loadFiles(
      options,
      files.filter((file) => !next.has(file)),
    );
    for (const [file, result] of fresh) {
      const loaded = { result, sources: sourcesOf(file, result, sources) };
      next.set(file, { ...loaded, sources: new Map([...loaded.sources, ...programsOf(loaded)]) });
    }
    await publish(deps, files, next);
    known = next;
    seen = signature;
  };

  return {
    pass() {
      running ??= look().finally(() => {
        running = undefined;
      });
      return running;
    },
  };
}

const programsOf = ({ result }: Loaded): Marks => (result.kind === "none" ? undefined : result.programs) ?? new Map();

/** Programs of tasks have any name, so they are looked at by those that name them. */
async function marksOf(dagsDir: string, known: ReadonlyMap<string, Loaded>): Promise<Marks> {
  const names = new Set([...known.values()].flatMap((loaded) => [...programsOf(loaded).keys()]));
  return new Map(await Promise.all([...names].map(async (name) => [name, await markOf(dagsDir, name)] as const)));
}

function hasItsPrograms(loaded: Loaded, now: Marks): boolean {
  return [...programsOf(loaded)].every(([name, mark]) => now.get(name) === mark);
}

function isCurrent({ sources }: Loaded, now: ReadonlyMap<string, string>): boolean {
  return [...sources].every(([name, mark]) => now.get(name) === mark);
}

/** A file that could not be evaluated may depend on anything. */
function sourcesOf(file: string, result: LoadResult, now: ReadonlyMap<string, string>): Map<string, string> {
  if (result.kind === "broken" && file.endsWith(".ts")) return new Map(now);
  const imports = result.kind === "dag" ? result.dag.imports : [];
  return new Map([file, ...imports].map((name) => [name, now.get(name) ?? ""]));
}

async function loadFiles(
  { dagsDir, env, plugins = NO_DESCRIBED }: LoaderOptions,
  files: readonly string[],
): Promise<Map<string, LoadResult>> {
  const results = new Map<string, LoadResult>();
  const waiting = [...files];
  const evaluators: Evaluator[] = [];
  const work = async (): Promise<void> => {
    const evaluator = createEvaluator(dagsDir, env, plugins.places);
    evaluators.push(evaluator);
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const name = file;
      const result = await loadFile(dagsDir, name, evaluator, plugins.types).catch((error: unknown) =>
        broken(name, messageOf(error)),
      );
      results.set(name, result);
      // Reading a large file takes its time; others of this process want theirs in between.
      await nextTurn();
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(EVALUATORS, waiting.length) }, work));
  } finally {
    for (const evaluator of evaluators) evaluator.stop();
  }
  return results;
}

function broken(file: string, message: string): { kind: "broken"; problems: FileProblem[] } {
  return { kind: "broken", problems: [{ file, line: 1, column: 1, message }] };
}

async function publish(deps: EngineDeps, files: readonly string[], loaded: ReadonlyMap<string, Loaded>): Promise<void> {
  const { dags, errors } = claimIds(files, loaded);
  const published = await readPublished(deps.pool);
  const changed: string[] = [];
  for (const { file, dag } of dags) {
    if (isPublished(published.get(dag.spec.id), file, dag)) continue;
    const result = await inTx(deps.pool, async (tx) => {
      if (dag.spec.bundle !== undefined) await insertBundle(tx, dag.spec.bundle, dag.files);
      return publishVersion(tx, dag.spec, { file, source: dag.source, author: `loader@${os.hostname()}` });
    });
    if (result === "unchanged") continue;
    changed.push(dag.spec.id);
    deps.notifier.announce("sluice_schedules", [dag.spec.id]);
    deps.log.info({ dag: dag.spec.id, file }, "DAG loaded");
  }
  for (const [file, problems] of errors) {
    const [first] = problems;
    deps.log.warn(
      { file, line: first?.line, problem: first?.message.split("\n", 1)[0] },
      "a DAG file cannot be loaded",
    );
  }
  await inTx(deps.pool, async (tx) => {
    await replaceImportErrors(
      tx,
      [...errors].map(([file, problems]) => ({ file, problems })),
    );
    await markMissing(tx, files);
  });
  // Their limits of active runs may be higher.
  await followUp(deps, effects({ dagsWithRoom: changed }));
}

function isPublished(published: PublishedDag | undefined, file: string, dag: LoadedDag): boolean {
  return published?.file === file && !published.missing && published.hash === specHash(dag.spec);
}

/** Each DAG id belongs to the first file that has it. */
function claimIds(
  files: readonly string[],
  loaded: ReadonlyMap<string, Loaded>,
): { dags: OwnedDag[]; errors: Map<string, FileProblem[]> } {
  const dags = new Map<string, OwnedDag>();
  const errors = new Map<string, FileProblem[]>();
  for (const file of files) {
    const { result } = loaded.get(file)!;
    if (result.kind === "broken") errors.set(file, result.problems);
    if (result.kind !== "dag") continue;
    const { id } = result.dag.spec;
    const owner = dags.get(id);
    if (owner === undefined) dags.set(id, { file, dag: result.dag });
    else errors.set(file, broken(file, `the DAG id "${id}" is already used by ${owner.file}`).problems);
  }
  return { dags: [...dags.values()], errors };
}
