import type { FileProblem } from "#lib/domain/definition/parse.ts";
import { buildGraph } from "#lib/domain/graph.ts";
import { orphans } from "#lib/domain/lineage.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { type Loaded, shownPath } from "./definition-files.ts";

/** What is known of definitions after all of them have been read. */
export type Report = {
  files: string[];
  dags: { id: string; file: string; tasks: number }[];
  /** By the DAGs folder they are in; each names its file below it. */
  broken: { root: string; problem: FileProblem }[];
  warnings: { file: string; message: string }[];
};

/** Gathers what was loaded; two files with the same DAG id in one folder are a mistake of the second. */
export function report(loaded: readonly Loaded[]): Report {
  const found: Report = { files: [], dags: [], broken: [], warnings: [] };
  const owners = new Map<string, string>();
  for (const { root, file, result } of loaded) {
    const shown = shownPath(root, file);
    found.files.push(shown);
    if (result.kind === "broken") found.broken.push(...result.problems.map((problem) => ({ root, problem })));
    if (result.kind !== "dag") continue;
    const { spec, source } = result.dag;
    const key = `${root}\0${spec.id}`;
    const owner = owners.get(key);
    if (owner === undefined) owners.set(key, shown);
    else {
      const message = `the DAG id "${spec.id}" is already used by ${owner}`;
      found.broken.push({ root, problem: { file, ...placeOfId(source, spec.id), message } });
    }
    found.dags.push({ id: spec.id, file: shown, tasks: spec.tasks.length });
    found.warnings.push(...warningsOf(spec).map((message) => ({ file: shown, message })));
  }
  return found;
}

/** Where a DAG's id is written; the start of the file when it is not there word for word. */
function placeOfId(source: string, id: string): { line: number; column: number } {
  const lines = source.split("\n");
  const isNamed = new RegExp(String.raw`^\s*"?id"?\s*:\s*["']?${id}\b|\bdag\(\s*["']${id}["']`);
  const at = lines.findIndex((line) => isNamed.test(line));
  return at < 0 ? { line: 1, column: 1 } : { line: at + 1, column: lines[at]!.indexOf(id) + 1 };
}

/** What is allowed and hardly ever meant. */
export function warningsOf({ tasks }: DagSpec): string[] {
  return orphans(buildGraph(tasks)).map(
    (ord) => `the task "${tasks[ord]!.id}" is connected to no other: nothing waits for it and it waits for nothing`,
  );
}
