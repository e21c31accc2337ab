import path from "node:path";
import { canonicalJson, sha256 } from "#lib/domain/canonical.ts";
import { readRegularFile } from "#lib/executors/regular-file.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import type { PluginTypes } from "#lib/domain/model/plugin-type.ts";
import { isOfType } from "#lib/domain/model/task.ts";
import { MAX_BYTES } from "#lib/domain/definition/caps.ts";
import { storableProblems } from "#lib/domain/storable.ts";
import type { FileProblem } from "#lib/domain/definition/parse.ts";
import type { Evaluator } from "./evaluator.ts";
import { type Marks, problemsInFile, readProgramFiles } from "./program-files.ts";

/** `source` is the text of the definition file, `files` the code of its functions by path. */
export type LoadedDag = {
  spec: DagSpec;
  source: string;
  files: Record<string, string>;
  /** Files of the folder that it was made from, beside its own. */
  imports: string[];
};
/** `programs` are the files with programs of its tasks, with a mark of each from before it was read. */
export type LoadResult =
  | { kind: "dag"; dag: LoadedDag; programs: Marks }
  | { kind: "none" }
  | { kind: "broken"; problems: FileProblem[]; programs?: Marks };

/**
 * Reads one definition file. `file` is relative to the DAGs folder; functions are named the same way. `plugins` are the
 * types that the evaluator has the code of.
 */
export async function loadFile(
  dagsDir: string,
  file: string,
  evaluator: Evaluator,
  plugins: PluginTypes,
): Promise<LoadResult> {
  const isCode = file.endsWith(".ts");
  // Anything may lie there, and be another thing by now than what was listed.
  const read = await readRegularFile(path.join(dagsDir, file), MAX_BYTES).catch((error: Error) => error);
  if (read instanceof Error) return broken(file, unread(read));
  const text = read.toString();
  const source = { dagsDir, file, text };
  return isCode ? loadTypeScript(source, evaluator) : loadData(source, evaluator, plugins);
}

function unread({ message }: Error): string {
  return message.startsWith("it ") ? `the file${message.slice(2)}` : `the file cannot be read: ${message}`;
}

type Source = { dagsDir: string; file: string; text: string };

async function loadTypeScript({ dagsDir, file, text }: Source, evaluator: Evaluator): Promise<LoadResult> {
  // A module that never mentions the package can hold no DAG: helpers beside definitions are not evaluated.
  if (!/["']sluice["']/.test(text)) return { kind: "none" };
  const result = await evaluator.evaluate({ kind: "typescript", file });
  if (!result.ok) return broken(file, result.message);
  return result.spec ? withPrograms({ dagsDir, file, text }, result.spec, result.files) : { kind: "none" };
}

async function loadData(
  { dagsDir, file, text }: Source,
  evaluator: Evaluator,
  plugins: PluginTypes,
): Promise<LoadResult> {
  // Only a file with tasks of plugins needs their schemas, and is broken with them.
  const asks = plugins.some(({ type }) => text.includes(type));
  const answer = await evaluator.evaluate({ kind: "data", file, text, ...(asks ? {} : { types: plugins }) });
  if (!answer.ok) return broken(file, answer.message);
  const parsed = answer.parsed!;
  if (!parsed.ok) return { kind: "broken", problems: parsed.problems };
  const folder = path.posix.dirname(file);
  const tasks = parsed.spec.tasks.map((task) =>
    isOfType(task, "fn")
      ? { ...task, config: { ...task.config, module: path.posix.join(folder, task.config.module) } }
      : task,
  );
  const spec = { ...parsed.spec, tasks };
  const references = tasks.flatMap((task) => (isOfType(task, "fn") ? [task.config] : []));
  if (references.length === 0) return withPrograms({ dagsDir, file, text }, spec, {});
  const outside = references.find(({ module }) => module.startsWith("../"));
  if (outside) return broken(file, `the module ${outside.module} is outside the DAGs folder`);
  const result = await evaluator.evaluate({ kind: "modules", file, references });
  if (!result.ok) return broken(file, result.message);
  return withPrograms({ dagsDir, file, text }, spec, result.files);
}

/**
 * Code is part of the version: the hash of it goes into the spec when the DAG has functions, or programs in files of
 * their own.
 */
async function withPrograms(
  { dagsDir, file, text }: Source,
  written: DagSpec,
  code: Record<string, string>,
): Promise<LoadResult> {
  const { spec, texts, marks, problems } = await readProgramFiles(dagsDir, file, written);
  if (problems.length > 0) return { kind: "broken", problems: problemsInFile(file, text, problems), programs: marks };
  const hasFunctions = spec.tasks.some((task) => task.type === "fn");
  const files = { ...(hasFunctions ? code : {}), ...texts };
  // The code is kept, and the definition as it is written.
  const [unstorable] = storableProblems({ ...files, [file]: text }, 1);
  if (unstorable !== undefined)
    return {
      kind: "broken",
      problems: [problemIn(file, String(unstorable.path[0]), unstorable.message)],
      programs: marks,
    };
  const bundle = Object.keys(files).length === 0 ? {} : { bundle: sha256(canonicalJson(files)) };
  const imports = Object.keys(code);
  return { kind: "dag", dag: { spec: { ...spec, ...bundle }, source: text, files, imports }, programs: marks };
}

function problemIn(file: string, other: string, trouble: string): FileProblem {
  return { file, line: 1, column: 1, message: `${other === file ? "the file" : `the file ${other}`} ${trouble}` };
}

/** At the place in the file that the message or its trace names; else at its beginning. */
function broken(file: string, message: string): LoadResult {
  const [, line = "1", column = "1"] =
    new RegExp(`${file.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)}:(\\d+)(?::(\\d+))?`).exec(message) ?? [];
  return { kind: "broken", problems: [{ file, line: Number(line), column: Number(column), message }] };
}
