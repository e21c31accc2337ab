import { registerHooks, type ResolveHookSync } from "node:module";
import { pathToFileURL } from "node:url";

const DSL = new URL("../../lib/dsl/index.ts", import.meta.url).href;

/** Who imports plugins by the name of a package: that is meant from the folder where Sluice was started. */
const PLUGIN_IMPORTER = new URL("../plugins/import.ts", import.meta.url).href;

type Options = {
  /** Hears which module imports which (as URLs), once per import as long as modules stay cached. */
  onImport?: ((from: string, to: string) => void) | undefined;
  /** Where Sluice was started: its packages are found from everywhere too. */
  base?: string | undefined;
  /**
   * A copy of code from the DAGs folder, and files outside of both that it may import by the path that they have from the
   * folder itself.
   */
  copy?: { folder: string; files: ReadonlySet<string> } | undefined;
};

/** Lets DAG code and plugins that live anywhere import `sluice`, and packages installed next to the DAGs folder. */
export function registerDagHooks(dagsDir: string, { onImport, base = dagsDir, copy }: Options = {}): void {
  const dagsUrl = folderUrl(dagsDir);
  const baseUrl = folderUrl(base);

  const elsewhere = (specifier: string, parent: string): { url: string } | { parents: string[] } => {
    const copyUrl = copy && folderUrl(copy.folder);
    if (copyUrl !== undefined && specifier.startsWith(".") && parent.startsWith(copyUrl)) {
      const original = new URL(specifier, dagsUrl + parent.slice(copyUrl.length)).href;
      if (copy!.files.has(original)) return { url: original };
    }
    return { parents: isBare(specifier) ? [...new Set([dagsUrl, baseUrl])].filter((url) => url !== parent) : [] };
  };

  const resolve: ResolveHookSync = (specifier, context, next) => {
    if (specifier === "sluice") return { url: DSL, shortCircuit: true };
    const { parentURL = "" } = context;
    const isPlugin = parentURL === PLUGIN_IMPORTER && isBare(specifier);
    try {
      return next(specifier, isPlugin ? { ...context, parentURL: baseUrl } : context);
    } catch (error) {
      const found = elsewhere(specifier, parentURL);
      if ("url" in found) return { url: found.url, shortCircuit: true };
      for (const parent of found.parents) {
        try {
          return next(specifier, { ...context, parentURL: parent });
        } catch {
          // The first failure is the one to tell: it is about where the import stands.
        }
      }
      throw error;
    }
  };
  registerHooks({
    resolve(specifier, context, next) {
      const resolved = resolve(specifier, context, next);
      if (context.parentURL !== undefined) onImport?.(context.parentURL, resolved.url);
      return resolved;
    },
  });
}

const folderUrl = (folder: string): string => pathToFileURL(`${folder.replace(/\/$/, "")}/`).href;

/** A package's name. */
const isBare = (specifier: string): boolean => /^[@\w]/.test(specifier) && !/^[a-z]+:/.test(specifier);
