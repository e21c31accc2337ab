import { readdir, realpath, stat } from "node:fs/promises";
import path from "node:path";
import { placedProblems } from "#lib/domain/definition/parse.ts";
import { type FileProblem, snippetAt } from "#lib/domain/definition/problem.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { sourceOf } from "#lib/domain/model/task-types.ts";
import { readRegularFile } from "#lib/executors/regular-file.ts";
import { nearestName } from "#lib/domain/nearest.ts";
import { markOf } from "./source-files.ts";

/** Of one program, and of all those of a DAG: they are kept with each version. More than that is data. */
const MAX_BYTES = 1024 * 1024;
const MAX_BYTES_OF_DAG = 16 * 1024 * 1024;

/** What was looked at, by its path below the DAGs folder, with a mark that changes with its content. */
export type Marks = Map<string, string>;

export type ProgramFiles = {
  /** The spec with its programs named from the DAGs folder. */
  spec: DagSpec;
  /** Their texts by that name. */
  texts: Record<string, string>;
  marks: Marks;
  problems: ProgramProblem[];
};

type ProgramProblem = { path: (string | number)[]; message: string; written: string; task: string };
type Found = { mark: string } & ({ text: string } | { problem: string });

/** Reads the programs that tasks name as files beside the DAG's own `file`. */
export async function readProgramFiles(dagsDir: string, file: string, spec: DagSpec): Promise<ProgramFiles> {
  const folder = path.posix.dirname(file);
  const found = new Map<string, Found>();
  const problems: ProgramProblem[] = [];
  const tasks: DagSpec["tasks"] = [];
  let bytes = 0;
  for (const [index, task] of spec.tasks.entries()) {
    const source = sourceOf(task);
    if (source === undefined) {
      tasks.push(task);
      continue;
    }
    const { member, file: written } = source;
    const name = path.posix.join(folder, written);
    const isNew = !found.has(name);
    const read = found.get(name) ?? (await readProgram(dagsDir, name));
    found.set(name, read);
    if (isNew && "text" in read) bytes += Buffer.byteLength(read.text);
    const tooMuch = `the programs of the DAG's tasks have more than ${MAX_BYTES_OF_DAG} bytes with this one`;
    const problem = "problem" in read ? read.problem : bytes > MAX_BYTES_OF_DAG ? tooMuch : undefined;
    if (problem !== undefined)
      problems.push({ path: ["tasks", index, task.type, member], message: problem, written, task: task.id });
    if (bytes > MAX_BYTES_OF_DAG) break;
    tasks.push({ ...task, config: { ...task.config, [member]: name } });
  }
  const texts = Object.fromEntries([...found].flatMap(([name, read]) => ("text" in read ? [[name, read.text]] : [])));
  const marks = new Map([...found].map(([name, { mark }]) => [name, mark]));
  return { spec: { ...spec, tasks }, texts, marks, problems };
}

async function readProgram(dagsDir: string, name: string): Promise<Found> {
  // Taken before the text is read: what changes meanwhile is seen at the next look.
  const mark = await markOf(dagsDir, name);
  const wrong = (problem: string): Found => ({ mark, problem });
  const outside = `the file ${name} is outside the DAGs folder`;
  if (name.startsWith("../")) return { mark: "", problem: outside };
  try {
    const real = await realpath(path.join(dagsDir, name));
    if (!real.startsWith((await realpath(dagsDir)) + path.sep)) return wrong(`${outside}, where its link leads`);
    const found = await stat(real);
    if (!found.isFile()) return wrong(`${name} is not a file`);
    if (found.size > MAX_BYTES) return wrong(`the file ${name} has ${found.size} bytes; at most ${MAX_BYTES} are kept`);
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await readRegularFile(real, MAX_BYTES));
    return text.includes("\0") ? wrong(`the file ${name} holds a NUL character`) : { mark, text };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ERR_ENCODING_INVALID_ENCODED_DATA") return wrong(`the file ${name} is not text in UTF-8`);
    return wrong(
      code === "ENOENT" ? await missing(dagsDir, name) : `the file ${name} cannot be read (${String(code)})`,
    );
  }
}

async function missing(dagsDir: string, name: string): Promise<string> {
  const folder = path.posix.dirname(name);
  const beside = await readdir(path.join(dagsDir, folder)).catch(() => []);
  const near = nearestName(path.posix.basename(name), beside);
  const hint = near === undefined ? "" : `; did you mean "${near}"?`;
  return `there is no file ${name} in the DAGs folder${hint}`;
}

/** The problems at their places in the definition. */
export function problemsInFile(file: string, text: string, problems: readonly ProgramProblem[]): FileProblem[] {
  if (!file.endsWith(".ts")) return placedProblems(text, file, problems);
  return problems.map(({ path: at, message, written, task }) => {
    const named = `task "${task}": ${at.slice(2).join(".")}: ${message}`;
    const place = placeInCode(text, written) ?? placeInCode(text, task);
    if (place === undefined) return { file, line: 1, column: 1, message: named };
    return { file, ...place, message: named, snippet: snippetAt(text, place.line, place.column) };
  });
}

/** Where a text stands in quotes in a program; it may also have been made by it. */
function placeInCode(code: string, text: string): { line: number; column: number } | undefined {
  const [at] = ['"', "'", "`"].map((quote) => code.indexOf(quote + text + quote)).filter((index) => index >= 0);
  if (at === undefined) return undefined;
  const before = code.slice(0, at).split("\n");
  return { line: before.length, column: before.at(-1)!.length + 1 };
}
