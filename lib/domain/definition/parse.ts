import { type Document, LineCounter, parseDocument } from "yaml";
import { graphProblems } from "../graph.ts";
import type { DagSpec } from "../model/dag.ts";
import { NO_PLUGINS, type PluginTypes } from "../model/plugin-type.ts";
import { dataProblem, MAX_ALIASES, textProblem } from "./caps.ts";
import { duplicateKeys } from "./duplicate-keys.ts";
import { expressionProblems } from "./expression-problems.ts";
import { type DataProblem, issueProblems, placeOf } from "./issue-problems.ts";
import { jsonData } from "./json-text.ts";
import { type Places, placesIn } from "./places.ts";
import { type FileProblem, lineOf, snippetOf, type TextProblem } from "./problem.ts";
import { fileDag } from "./schema.ts";
import { toSpec } from "./to-spec.ts";
import { duplicateKeyProblem, yamlProblems } from "./yaml-errors.ts";

export type { FileProblem } from "./problem.ts";
export type DefinitionResult = { ok: true; spec: DagSpec } | { ok: false; problems: FileProblem[] };

/** `uniqueKeys` takes time that grows with the square of the keys: see duplicate-keys.ts. */
const READ = { prettyErrors: false, merge: false, stringKeys: true, uniqueKeys: false } as const;

/** More than anybody reads at once; a file full of mistakes is not worth more. */
const MAX_PROBLEMS = 100;

/**
 * Reads one definition, YAML or JSON (which is read as the YAML it also is). `file` is only used in messages; `plugins` are
 * the types of task beside the built-in ones. Tells every mistake it can find, not the first only. Never throws for what
 * the text holds.
 */
export function parseDefinition(text: string, file: string, plugins: PluginTypes = NO_PLUGINS): DefinitionResult {
  const lines = new LineCounter();
  const read = readText(text, lines, plugins);
  if (read.ok) return { ok: true, spec: read.spec };
  return {
    ok: false,
    problems: read.problems.slice(0, MAX_PROBLEMS).map((problem) => inFile(file, text, lines, problem)),
  };
}

/**
 * Mistakes that only show beside the file, in its own words and at their places in it. `text` is a definition that was
 * read well.
 */
export function placedProblems(text: string, file: string, problems: readonly DataProblem[]): FileProblem[] {
  const lines = new LineCounter();
  const document = parsed(text, lines);
  const data: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
  const places = placesIn(document);
  return problems
    .slice(0, MAX_PROBLEMS)
    .map((problem) => inFile(file, text, lines, locate(places, withPlace(data, problem))));
}

function inFile(file: string, text: string, lines: LineCounter, problem: TextProblem): FileProblem {
  const { offset, message, found, expected } = problem;
  const at = lines.linePos(offset);
  const line = Math.max(1, at.line);
  const column = Math.max(1, at.col);
  const extra = { ...(found === undefined ? {} : { found }), ...(expected === undefined ? {} : { expected }) };
  const snippet = problem.hidesLine
    ? `${line} | (not shown)`
    : snippetOf(lineOf(text, lines.lineStarts[line - 1] ?? 0), line, column);
  return { file, line, column, message, snippet, ...extra };
}

type Read = { ok: true; spec: DagSpec } | { ok: false; problems: TextProblem[] };

function readText(text: string, lines: LineCounter, plugins: PluginTypes): Read {
  const refused = textProblem(text);
  if (refused) {
    // Nobody has parsed it, and counted its lines.
    lines.addNewLine(0);
    for (const { index } of text.matchAll(/\n/g)) lines.addNewLine(index + 1);
    return { ok: false, problems: [refused] };
  }
  const data = jsonData(text);
  const known = data !== undefined && dataProblem(data) === undefined ? specOf(data, plugins) : undefined;
  if (known?.spec !== undefined && known.problems.length === 0) return { ok: true, spec: known.spec };
  try {
    const document = parsed(text, lines);
    const broken = brokenParts(document);
    return broken.length > 0 ? { ok: false, problems: broken } : readDocument(document, plugins);
  } catch (error) {
    // The library throws for some inputs, and runs out of stack on others.
    const message = error instanceof Error ? error.message : "unknown error";
    return { ok: false, problems: [{ offset: 0, message: `the file cannot be read: ${message}` }] };
  }
}

/** There may be a mistake at each character, and the library makes an error of each: its stack takes most of the time. */
function parsed(text: string, lineCounter: LineCounter): Document.Parsed {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return parseDocument(text, { ...READ, lineCounter });
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/** What the parser objects to, and keys that it would read over. */
function brokenParts(document: Document.Parsed): TextProblem[] {
  const problems = yamlProblems([...document.errors, ...document.warnings]);
  const doubled = duplicateKeys(document).map(duplicateKeyProblem);
  return doubled.length === 0 ? problems : [...problems, ...doubled].toSorted((a, b) => a.offset - b.offset);
}

function readDocument(document: Document.Parsed, plugins: PluginTypes): Read {
  const data: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
  const refused = dataProblem(data);
  if (refused !== undefined) return { ok: false, problems: [{ offset: 0, message: refused }] };
  if (typeof data !== "object" || data === null || Array.isArray(data))
    return { ok: false, problems: [{ offset: 0, message: noMapping(data) }] };
  return readData(document, data, plugins);
}

function noMapping(data: unknown): string {
  const what = data === null ? "is empty" : Array.isArray(data) ? "holds a list" : "holds a plain value";
  return `the file ${what}; a DAG is a mapping with the keys id and tasks`;
}

function readData(document: Document.Parsed, data: object, plugins: PluginTypes): Read {
  const { spec, problems } = specOf(data, plugins);
  if (spec !== undefined && problems.length === 0) return { ok: true, spec };
  const places = placesIn(document);
  const located = problems.map((problem) => locate(places, problem));
  return { ok: false, problems: located.toSorted((a, b) => a.offset - b.offset) };
}

function specOf(data: object, plugins: PluginTypes): { spec: DagSpec | undefined; problems: DataProblem[] } {
  const schema = fileDag(plugins);
  const checked = schema.safeParse(data);
  const spec = checked.success ? toSpec(checked.data, data, plugins) : undefined;
  const problems: DataProblem[] = [
    ...(checked.success ? [] : issueProblems(schema, data, checked.error.issues)),
    ...graphProblems(spec?.tasks ?? readableTasks(data)),
    ...(spec === undefined ? [] : expressionProblems(spec, plugins).map((problem) => withPlace(data, problem))),
  ];
  return { spec, problems };
}

function withPlace(data: unknown, problem: DataProblem): DataProblem {
  return { ...problem, message: `${placeOf(data, problem.path)}${problem.message}` };
}

function locate(places: Places, { path, key, ...problem }: DataProblem): TextProblem {
  return { offset: places.offsetOf(key === undefined ? { path } : { path, key }), ...problem };
}

/** As much of the tasks as the graph's rules can be asked about when the rest is wrong. */
function readableTasks(data: object): { id: string; dependsOn: string[] }[] {
  const tasks: unknown = (data as { tasks?: unknown }).tasks;
  if (!Array.isArray(tasks)) return [];
  return tasks.map((task: unknown, index) => {
    const { id, dependsOn } = (typeof task === "object" && task !== null ? task : {}) as Record<string, unknown>;
    return {
      id: typeof id === "string" ? id : `\0${index}`,
      dependsOn: Array.isArray(dependsOn) ? dependsOn.filter((parent) => typeof parent === "string") : [],
    };
  });
}
