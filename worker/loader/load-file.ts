import { readFile } from "node:fs/promises";
import path from "node:path";
import { canonicalJson, sha256 } from "#lib/domain/canonical.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { type FileProblem, parseDefinition } from "#lib/domain/definition/parse.ts";
import type { Evaluator } from "./evaluator.ts";

/** `source` is the text of the definition file, `files` the code of its functions by path. */
export type LoadedDag = {
  spec: DagSpec;
  source: string;
  files: Record<string, string>;
  /** Files of the folder that it was made from, beside its own. */
  imports: string[];
};
export type LoadResult =
  | { kind: "dag"; dag: LoadedDag }
  | { kind: "none" }
  | { kind: "broken"; problems: FileProblem[] };

/** Reads one definition file. `file` is relative to the DAGs folder; functions are named the same way. */
export async function loadFile(dagsDir: string, file: string, evaluator: Evaluator): Promise<LoadResult> {
  const text = await readFile(path.join(dagsDir, file), "utf8");
  return file.endsWith(".ts") ? loadTypeScript(file, text, evaluator) : loadData(file, text, evaluator);
}

async function loadTypeScript(file: string, text: string, evaluator: Evaluator): Promise<LoadResult> {
  // A module that never mentions the package can hold no DAG: helpers beside definitions are not evaluated.
  if (!/["']sluice["']/.test(text)) return { kind: "none" };
  const result = await evaluator.evaluate({ kind: "typescript", file });
  if (!result.ok) return broken(file, result.message);
  return result.spec ? { kind: "dag", dag: withBundle(result.spec, text, result.files) } : { kind: "none" };
}

async function loadData(file: string, text: string, evaluator: Evaluator): Promise<LoadResult> {
  const parsed = parseDefinition(text, file);
  if (!parsed.ok) return { kind: "broken", problems: parsed.problems };
  const folder = path.posix.dirname(file);
  const tasks = parsed.spec.tasks.map((task) =>
    task.type === "fn"
      ? { ...task, config: { ...task.config, module: path.posix.join(folder, task.config.module) } }
      : task,
  );
  const spec = { ...parsed.spec, tasks };
  const references = tasks.flatMap((task) => (task.type === "fn" ? [task.config] : []));
  if (references.length === 0) return { kind: "dag", dag: { spec, source: text, files: {}, imports: [] } };
  const outside = references.find(({ module }) => module.startsWith("../"));
  if (outside) return broken(file, `the module ${outside.module} is outside the DAGs folder`);
  const result = await evaluator.evaluate({ kind: "modules", file, references });
  return result.ok ? { kind: "dag", dag: withBundle(spec, text, result.files) } : broken(file, result.message);
}

/** Code is part of the version: its hash goes into the spec when the DAG has functions. */
function withBundle(spec: DagSpec, source: string, files: Record<string, string>): LoadedDag {
  const imports = Object.keys(files);
  if (!spec.tasks.some((task) => task.type === "fn")) return { spec, source, files: {}, imports };
  return { spec: { ...spec, bundle: sha256(canonicalJson(files)) }, source, files, imports };
}

/** At the place in the file that the message or its trace names; else at its beginning. */
function broken(file: string, message: string): LoadResult {
  const [, line = "1", column = "1"] =
    new RegExp(`${file.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)}:(\\d+)(?::(\\d+))?`).exec(message) ?? [];
  return { kind: "broken", problems: [{ file, line: Number(line), column: Number(column), message }] };
}
