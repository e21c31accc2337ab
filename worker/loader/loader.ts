import { setImmediate as nextTurn } from "node:timers/promises";
import type { FileProblem } from "#lib/domain/definition/parse.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { GuestPlace } from "../guests/guest.ts";
import { type DescribedPlugins, NO_DESCRIBED } from "../plugins/describe.ts";
import { createEvaluator, createReader, EVALUATORS, type Evaluator } from "./evaluator.ts";
import { loadFile, type LoadResult } from "./load-file.ts";
import type { Marks } from "./program-files.ts";
import { type Outcome, type OwnedDag, plainProblem, publish } from "./publish.ts";
import { findSources, isDefinition, markOf } from "./source-files.ts";

/** What the database did not take, and may take another time, is tried again after so long. */
const AGAIN_MS = 30_000;

export type Loader = {
  /**
   * Looks at the folder, loads what has changed since the last look and publishes what is different. A call during
   * another waits for that one.
   */
  pass(): Promise<void>;
  stop(): void;
};

/** What became of a file, and the mark of everything it was made from. */
type Loaded = { result: LoadResult; sources: Map<string, string> };

type LoaderOptions = {
  deps: EngineDeps;
  dagsDir: string;
  env: Record<string, string>;
  plugins?: DescribedPlugins | undefined;
  /** Where files are evaluated. */
  place: GuestPlace;
};

/**
 * Publishes the definitions of a folder. A file is loaded again when it, or a module it imports, has another size or
 * time. A broken file is reported and the last good version of its DAG stays in use. What is published already is
 * only compared: a start over an unchanged folder writes nothing. What another session had locked is left to the next
 * look, which the pass ends with an error for.
 */
export function createLoader(options: LoaderOptions): Loader {
  const { deps, dagsDir } = options;
  let known = new Map<string, Loaded>();
  let seen: string | undefined;
  let againAtMs = Number.POSITIVE_INFINITY;
  let told = new Map<string, string>();

  let running: Promise<void> | undefined;

  const { env, plugins = NO_DESCRIBED, place } = options;
  const evaluating = { dagsDir, env, plugins: plugins.places, place };
  const readers = Array.from({ length: EVALUATORS }, () => createReader(evaluating));
  const evaluators = (): Evaluator[] => readers.map((reader) => createEvaluator(evaluating, reader));

  const look = async (): Promise<void> => {
    const { sources: listed, unreadable } = await findSources(dagsDir);
    const programs = await marksOf(dagsDir, known);
    const signature = JSON.stringify([[...listed], [...unreadable]]);
    const isSame = signature === seen && [...known.values()].every((loaded) => hasItsPrograms(loaded, programs));
    if (isSame && performance.now() < againAtMs) return;
    seen = undefined;
    const sources = new Map([...listed, ...programs]);
    const files = [...sources.keys()].filter(isDefinition);
    known = await loadNew(files, sources, known, (fresh) => loadFiles(options, fresh, evaluators()));
    const { dags, errors } = claimIds(files, known);
    for (const [folder, problem] of unreadable) errors.set(folder, plainProblem(folder, problem));
    const isThere = (file: string): boolean =>
      known.has(file) || [...unreadable.keys()].some((folder) => file.startsWith(folder));
    const outcome = await publish(deps, { dags, errors, isThere });
    told = tell(deps, outcome, told);
    for (const file of outcome.refused) known.set(file, asBroken(known.get(file)!, outcome.errors.get(file)!));
    againAtMs = outcome.failed.length > 0 ? performance.now() + AGAIN_MS : Number.POSITIVE_INFINITY;
    const [first] = outcome.contended;
    if (first !== undefined) throw contention(outcome.contended.length, first);
    seen = signature;
  };

  return {
    pass() {
      running ??= look().finally(() => {
        running = undefined;
      });
      return running;
    },
    stop() {
      for (const reader of readers) reader.stop();
    },
  };
}

/** Not tried again before it changes. */
function asBroken(loaded: Loaded, problems: FileProblem[]): Loaded {
  return { ...loaded, result: { kind: "broken", problems, programs: programsOf(loaded) } };
}

function contention(parts: number, { part, error }: Outcome["contended"][number]): Error {
  const others = parts === 1 ? "" : ` (and ${parts - 1} more)`;
  return new Error(`left to the next pass: ${part}${others}: ${messageOf(error)}`, { cause: error });
}

/** Says what is new of what is wrong. */
function tell({ log }: EngineDeps, { errors }: Outcome, before: ReadonlyMap<string, string>): Map<string, string> {
  const told = new Map<string, string>();
  for (const [file, [first]] of errors) {
    const { line, message } = first!;
    told.set(file, `${line} ${message}`);
    if (told.get(file) === before.get(file)) continue;
    log.warn({ file, line, problem: message.split("\n", 1)[0] }, "a DAG file cannot be loaded");
  }
  return told;
}

/** What is known of these files: loaded now, where what it was made from has changed. */
async function loadNew(
  files: readonly string[],
  sources: ReadonlyMap<string, string>,
  known: ReadonlyMap<string, Loaded>,
  load: (files: readonly string[]) => Promise<Map<string, LoadResult>>,
): Promise<Map<string, Loaded>> {
  const kept = files.flatMap((file): [string, Loaded][] => {
    const before = known.get(file);
    return before !== undefined && isCurrent(before, sources) ? [[file, before]] : [];
  });
  const next = new Map(kept);
  const fresh = await load(files.filter((file) => !next.has(file)));
  for (const [file, result] of fresh) {
    const loaded = { result, sources: sourcesOf(file, result, sources) };
    next.set(file, { ...loaded, sources: new Map([...loaded.sources, ...programsOf(loaded)]) });
  }
  return next;
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
  { dagsDir, plugins = NO_DESCRIBED }: LoaderOptions,
  files: readonly string[],
  evaluators: readonly Evaluator[],
): Promise<Map<string, LoadResult>> {
  const results = new Map<string, LoadResult>();
  const waiting = [...files];
  const work = async (evaluator: Evaluator): Promise<void> => {
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
    await Promise.all(evaluators.map(work));
  } finally {
    for (const evaluator of evaluators) evaluator.stop();
  }
  return results;
}

function broken(file: string, message: string): { kind: "broken"; problems: FileProblem[] } {
  return { kind: "broken", problems: plainProblem(file, message) };
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
