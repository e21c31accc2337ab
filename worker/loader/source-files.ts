import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import path from "node:path";

/** Files that look like definitions and are something else. */
const NOT_DEFINITIONS = new Set(["package.json", "package-lock.json", "tsconfig.json"]);

/** True for a file that may hold a DAG. */
export function isDefinition(name: string): boolean {
  return (
    /\.(ya?ml|json|ts)$/.test(name) &&
    !/\.(test|spec|d)\.ts$/.test(name) &&
    !NOT_DEFINITIONS.has(path.posix.basename(name))
  );
}

/** By name, what was found below a folder: a mark of each source file that changes with its content, and folders that cannot be read. */
export type Sources = { sources: Map<string, string>; unreadable: Map<string, string> };

/**
 * Every source file below the folder. A folder in it that cannot be read, whose name ends with a slash, is no reason to know nothing of
 * the others.
 */
export async function findSources(dagsDir: string): Promise<Sources> {
  const names: string[] = [];
  const unreadable = new Map<string, string>();
  const waiting = [""];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    const entries = await entriesOf(dagsDir, folder, unreadable);
    for (const entry of entries) {
      const name = folder + entry.name;
      if (entry.isDirectory() && entry.name !== "node_modules" && !entry.name.startsWith(".")) waiting.push(`${name}/`);
      if (entry.isFile() && /\.([cm]?[jt]s|json|ya?ml)$/.test(entry.name) && !entry.name.startsWith("."))
        names.push(name);
    }
  }
  const marked = names.toSorted().map(async (name): Promise<[string, string] | undefined> => {
    // Gone since it was listed: the next look finds the folder as it is then.
    const mark = await markOf(dagsDir, name);
    return mark === "" ? undefined : [name, mark];
  });
  const found = await Promise.all(marked);
  return { sources: new Map(found.filter((entry) => entry !== undefined)), unreadable };
}

/** What of a folder is gone while it is looked at is not there; the DAGs folder itself must be readable. */
async function entriesOf(dagsDir: string, folder: string, unreadable: Map<string, string>): Promise<Dirent[]> {
  try {
    return await readdir(path.join(dagsDir, folder), { withFileTypes: true });
  } catch (error) {
    if (folder === "") throw error;
    if (!isGone(error)) unreadable.set(folder, `the folder cannot be read (${codeOf(error)})`);
    return [];
  }
}

/** A mark of a file that changes with its content; empty when there is none. One that cannot be looked at is there. */
export async function markOf(dagsDir: string, name: string): Promise<string> {
  try {
    const found = await stat(path.join(dagsDir, name));
    return `${found.size} ${found.mtimeMs} ${found.ino}`;
  } catch (error) {
    return isGone(error) ? "" : codeOf(error);
  }
}

function isGone(error: unknown): boolean {
  return codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR";
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown";
}
