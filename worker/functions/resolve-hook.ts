import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";

const DSL = new URL("../../lib/dsl/index.ts", import.meta.url).href;

/**
 * Lets DAG code that lives anywhere import `sluice`, and packages installed next to the DAGs folder. With
 * `onLoad`, tells which files are loaded.
 */
export function registerDagHooks(dagsDir: string, onLoad?: (url: string) => void): void {
  const dagsUrl = pathToFileURL(`${dagsDir}/`).href;
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === "sluice") return { url: DSL, shortCircuit: true };
      try {
        return next(specifier, context);
      } catch (error) {
        const bare = !/^(\.|\/|[a-z]+:)/.test(specifier);
        if (bare && context.parentURL !== dagsUrl) return next(specifier, { ...context, parentURL: dagsUrl });
        throw error;
      }
    },
    load(url, context, next) {
      onLoad?.(url);
      return next(url, context);
    },
  });
}
