import { readdir, realpath, stat } from "node:fs/promises";
import path from "node:path";
import type { FileProblem } from "#lib/domain/definition/parse.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { plainEnv } from "#lib/env.ts";
import { ownPlace } from "#worker/guests/place.ts";
import { createEvaluator } from "#worker/loader/evaluator.ts";
import { loadFile, type LoadedDag, type LoadResult } from "#worker/loader/load-file.ts";
import type { DescribedPlugins } from "#worker/plugins/describe.ts";

/** Files of one DAGs folder, by their paths below it. */
export type Target = { root: string; files: string[] };

export type Targets = { ok: true; targets: Target[] } | { ok: false; problems: string[] };

/** Files that look like definitions and are something else. */
const NOT_DEFINITIONS = new Set(["package.json", "package-lock.json", "tsconfig.json"]);

/**
 * The definition files that paths mean. What lies below `dagsDir` belongs to it; another folder is a DAGs folder of
 * its own, and another file has its folder as one.
 */
export async function findTargets(paths: readonly string[], dagsDir: string): Promise<Targets> {
  const home = await realpath(dagsDir).catch(() => dagsDir);
  const problems: string[] = [];
  const byRoot = new Map<string, Set<string>>();
  for (const given of paths) {
    const real = await realpath(given).catch(() => undefined);
    if (real === undefined) {
      problems.push(`${given} does not exist`);
      continue;
    }
    const isFolder = (await stat(real)).isDirectory();
    if (!isFolder && !isDefinition(real)) {
      problems.push(`${given} is not a definition file: those end in .yaml, .yml, .json or .ts`);
      continue;
    }
    const isHome = real === home || real.startsWith(home + path.sep);
    const root = isHome ? home : isFolder ? real : path.dirname(real);
    const files = isFolder ? await definitionsBelow(real) : [real];
    const known = byRoot.get(root) ?? new Set();
    for (const file of files) known.add(path.relative(root, file).split(path.sep).join("/"));
    byRoot.set(root, known);
  }
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, targets: [...byRoot].map(([root, files]) => ({ root, files: [...files] })) };
}

function isDefinition(file: string): boolean {
  return (
    /\.(ya?ml|json|ts)$/.test(file) && !/\.(test|spec|d)\.ts$/.test(file) && !NOT_DEFINITIONS.has(path.basename(file))
  );
}

async function definitionsBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && isDefinition(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => !hiddenPart(path.relative(folder, file)))
    .toSorted();
}

function hiddenPart(file: string): boolean {
  return file.split(path.sep).some((part) => part === "node_modules" || part.startsWith("."));
}

export type Loaded = { root: string; file: string; result: LoadResult };

/** Reads definitions the way the scheduler does: user code runs in a child with a clean environment and a time limit. */
export async function loadTargets(targets: readonly Target[], plugins: DescribedPlugins): Promise<Loaded[]> {
  const loaded: Loaded[] = [];
  for (const { root, files } of targets) {
    const evaluator = createEvaluator({ dagsDir: root, env: plainEnv(), plugins: plugins.places, place: ownPlace() });
    try {
      for (const file of files) {
        const result = await loadFile(root, file, evaluator, plugins.types).catch((error: unknown) =>
          brokenBy(file, error),
        );
        loaded.push({ root, file, result });
      }
    } finally {
      evaluator.stop();
    }
  }
  return loaded;
}

function brokenBy(file: string, error: unknown): LoadResult {
  return { kind: "broken", problems: [{ file, line: 1, column: 1, message: messageOf(error) }] };
}

export type OneDag =
  | { ok: true; dag: LoadedDag; root: string; file: string }
  | { ok: false; usage: string[] }
  | { ok: false; root: string; problems: FileProblem[] };

/** The one DAG of the file at `given`. */
export async function loadOne(given: string, dagsDir: string, plugins: DescribedPlugins): Promise<OneDag> {
  const found = await findTargets([given], dagsDir);
  if (!found.ok) return { ok: false, usage: found.problems };
  const loaded = await loadTargets(found.targets, plugins);
  const [first] = loaded;
  if (first === undefined || loaded.length > 1 || (await stat(given)).isDirectory()) {
    return { ok: false, usage: [`${given} is a folder: name one file`] };
  }
  const { root, file, result } = first;
  if (result.kind === "dag") return { ok: true, dag: result.dag, root, file };
  if (result.kind === "broken") return { ok: false, root, problems: result.problems };
  return { ok: false, usage: [`${given} holds no DAG: a TypeScript definition exports one as its default`] };
}

/** The path of a file as somebody in the working directory would write it. */
export function shownPath(root: string, file: string): string {
  const absolute = path.join(root, file);
  const relative = path.relative(process.cwd(), absolute);
  return relative.startsWith("..") ? absolute : relative;
}
