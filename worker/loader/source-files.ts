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

/** Every source file below the folder, by name, with a mark that changes with its content. */
export async function findSources(dagsDir: string): Promise<Map<string, string>> {
  const entries = await readdir(dagsDir, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile() && /\.([cm]?[jt]s|json|ya?ml)$/.test(entry.name))
    .map((entry) => path.relative(dagsDir, path.join(entry.parentPath, entry.name)).split(path.sep).join("/"))
    .filter((name) => !name.split("/").some((part) => part === "node_modules" || part.startsWith(".")));
  const marked = names.toSorted().map(async (name): Promise<[string, string] | undefined> => {
    // Gone since it was listed: the next look finds the folder as it is then.
    const mark = await markOf(dagsDir, name);
    return mark === "" ? undefined : [name, mark];
  });
  return new Map((await Promise.all(marked)).filter((entry) => entry !== undefined));
}

/** A mark of a file that changes with its content; empty when there is none. */
export async function markOf(dagsDir: string, name: string): Promise<string> {
  const found = await stat(path.join(dagsDir, name)).catch(() => undefined);
  return found === undefined ? "" : `${found.size} ${found.mtimeMs} ${found.ino}`;
}
