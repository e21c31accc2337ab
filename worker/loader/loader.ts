import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import type { FileProblem } from "#lib/domain/definition/parse.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { inTx } from "#lib/db/tx.ts";
import { insertBundle, markMissing, publishVersion, replaceImportErrors } from "#lib/db/versions.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { createEvaluator } from "./evaluator.ts";
import { loadFile, type LoadedDag } from "./load-file.ts";

/** Files that look like definitions and are something else. */
const NOT_DEFINITIONS = new Set(["package.json", "package-lock.json", "tsconfig.json"]);

export type Loader = {
  /** Looks at the folder; loads everything when anything in it has changed, else does nothing. */
  pass(): Promise<void>;
};

/**
 * Publishes the definitions of a folder. Files are compared by size and time; a change anywhere loads every file
 * again, because a definition may import any other, and the same hash publishes nothing. A broken file is
 * reported and the last good version of its DAG stays in use.
 */
export function createLoader(options: { deps: EngineDeps; dagsDir: string; env: Record<string, string> }): Loader {
  const { deps, dagsDir } = options;
  let loadedSignature: string | undefined;

  const loadAll = async (files: readonly string[]): Promise<void> => {
    const evaluator = createEvaluator(dagsDir, options.env);
    const dags = new Map<string, { file: string; dag: LoadedDag }>();
    const errors = new Map<string, FileProblem[]>();
    try {
      for (const file of files) {
        const result = await loadFile(dagsDir, file, evaluator).catch((error: unknown) => ({
          kind: "broken" as const,
          problems: [{ file, line: 1, column: 1, message: messageOf(error) }],
        }));
        if (result.kind === "broken") errors.set(file, result.problems);
        if (result.kind !== "dag") continue;
        const { id } = result.dag.spec;
        const other = dags.get(id)?.file;
        if (other === undefined) dags.set(id, { file, dag: result.dag });
        else
          errors.set(file, [{ file, line: 1, column: 1, message: `the DAG id "${id}" is already used by ${other}` }]);
      }
    } finally {
      evaluator.stop();
    }
    await publish(deps, files, [...dags.values()], errors);
  };

  return {
    async pass() {
      const files = await findDefinitions(dagsDir);
      const signature = files.map(({ name, mark }) => `${name} ${mark}`).join("\n");
      if (signature === loadedSignature) return;
      await loadAll(files.filter(({ name }) => isDefinition(name)).map(({ name }) => name));
      loadedSignature = signature;
    },
  };
}

async function publish(
  deps: EngineDeps,
  files: readonly string[],
  dags: readonly { file: string; dag: LoadedDag }[],
  errors: ReadonlyMap<string, FileProblem[]>,
): Promise<void> {
  for (const { file, dag } of dags) {
    const result = await inTx(deps.pool, async (tx) => {
      if (dag.spec.bundle !== undefined) await insertBundle(tx, dag.spec.bundle, dag.files);
      return publishVersion(tx, dag.spec, { file, source: dag.source, author: "loader" });
    });
    if (result === "published") deps.log.info({ dag: dag.spec.id, file }, "DAG loaded");
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
}

function isDefinition(name: string): boolean {
  return (
    /\.(ya?ml|json|ts)$/.test(name) &&
    !/\.(test|spec|d)\.ts$/.test(name) &&
    !NOT_DEFINITIONS.has(path.posix.basename(name))
  );
}

/** Every source file below the folder with a mark that changes with its content, sorted by name. */
async function findDefinitions(dagsDir: string): Promise<{ name: string; mark: string }[]> {
  const entries = await readdir(dagsDir, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile() && /\.([cm]?[jt]s|json|ya?ml)$/.test(entry.name))
    .map((entry) => path.relative(dagsDir, path.join(entry.parentPath, entry.name)).split(path.sep).join("/"))
    .filter((name) => !name.split("/").some((part) => part === "node_modules" || part.startsWith(".")));
  const marked = names.toSorted().map(async (name) => {
    const { size, mtimeMs, ino } = await stat(path.join(dagsDir, name));
    return { name, mark: `${size} ${mtimeMs} ${ino}` };
  });
  return Promise.all(marked);
}
