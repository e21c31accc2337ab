import { registerHooks, type ResolveHookSync } from "node:module";
import { pathToFileURL } from "node:url";

const DSL = new URL("../../lib/dsl/index.ts", import.meta.url).href;

/**
 * Lets DAG code that lives anywhere import `sluice`, and packages installed next to the DAGs folder. With
 * `onImport`, tells which module imports which (as URLs), once per import as long as modules stay cached.
 */
export function registerDagHooks(dagsDir: string, onImport?: (from: string, to: string) => void): void {
  const dagsUrl = pathToFileURL(`${dagsDir}/`).href;
  const resolve: ResolveHookSync = (specifier, context, next) => {
    if (specifier === "sluice") return { url: DSL, shortCircuit: true };
    try {
      return next(specifier, context);
    } catch (error) {
      const bare = !/^(\.|\/|[a-z]+:)/.test(specifier);
      if (bare && context.parentURL !== dagsUrl) return next(specifier, { ...context, parentURL: dagsUrl });
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
