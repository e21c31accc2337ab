import { access } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { definitionOf } from "#lib/dsl/define-executor.ts";
import type { Executor } from "#lib/executors/executor.ts";
import { describeThrown, readExecutor } from "#lib/executors/plugin.ts";
import { doubledTypes, isFile, pluginProblem, type PluginPlaces } from "./places.ts";

/** Less than a definition file has, so that whoever evaluates both hears of the plugin. */
const TIME_LIMIT_MS = 8_000;

export type Imported = { ok: true; executors: Executor[] } | { ok: false; problems: string[] };

/**
 * Imports every plugin into this process, with all that its code does at its top level. All of them, or none: what is
 * wrong is told of each. Expects the hooks of `registerDagHooks`.
 */
export async function importPlugins({ locations }: PluginPlaces): Promise<Imported> {
  const found: { location: string; executors: Executor[] }[] = [];
  const problems: string[] = [];
  for (const location of locations) {
    const imported = await importPlugin(location);
    if (imported.ok) found.push({ location, executors: imported.executors });
    else problems.push(...imported.problems);
  }
  const types = found.flatMap(({ location, executors }) => executors.map(({ type }) => ({ location, type })));
  problems.push(...doubledTypes(types));
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, executors: found.flatMap(({ executors }) => executors) };
}

/** Imports one plugin: every executor that it exports. */
export async function importPlugin(location: string): Promise<Imported> {
  const broken = (...what: string[]): Imported => ({
    ok: false,
    problems: what.map((one) => pluginProblem(location, one)),
  });
  if (isFile(location) && !(await isThere(location))) return broken("there is no such file");
  const url = isFile(location) ? pathToFileURL(location).href : location;
  let exported: Record<string, unknown>;
  try {
    exported = await withinLimit(import(url) as Promise<Record<string, unknown>>);
  } catch (error) {
    return broken(isFile(location) || !isMissing(error, location) ? describeThrown(error, url) : notInstalled);
  }
  // The same one may be exported twice, by name and as the default.
  const found = Object.values(exported).map(definitionOf);
  const definitions = new Set(found.filter((definition) => definition !== undefined));
  if (definitions.size === 0) {
    const names = Object.keys(exported).join(", ") || "nothing";
    return broken(`it exports no executor, which defineExecutor({ … }) makes; it exports ${names}`);
  }
  const read = [...definitions].map(readExecutor);
  const problems = read.flatMap((one) => (one.ok ? [] : one.problems));
  if (problems.length > 0) return broken(...problems);
  return { ok: true, executors: read.flatMap((one) => (one.ok ? [one.executor] : [])) };
}

const notInstalled = "no package of that name is installed where Sluice was started; a file begins with ./ or /";

function isMissing(error: unknown, name: string): boolean {
  const isNotFound = error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
  return isNotFound && error.message.includes(`'${name}'`);
}

function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

async function withinLimit<T>(work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const fail = (): void =>
    late.reject(new Error(`it was not imported within ${TIME_LIMIT_MS / 1_000} s: its top level waits for something`));
  const timer = setTimeout(fail, TIME_LIMIT_MS);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
