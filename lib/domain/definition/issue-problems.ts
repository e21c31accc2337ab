import type { z } from "zod";
import { nearestName } from "../nearest.ts";
import { taskOptions } from "../model/task.ts";
import { describeValue } from "./describe-value.ts";
import type { UnknownKeys } from "./plugin-key.ts";
import { ONE_EXECUTOR } from "./schema.ts";
import { keysAt } from "./schema-keys.ts";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** What is wrong at a place in the data; `key` when it is the key itself and not what it holds. */
export type DataProblem = {
  path: Path;
  key?: string;
  message: string;
  found?: string | undefined;
  expected?: string | undefined;
  hidesLine?: boolean | undefined;
};

/** Zod's issues in the words of the file they are about. `data` is what was parsed. */
export function issueProblems(schema: z.ZodType, data: unknown, issues: readonly Issue[]): DataProblem[] {
  const problems = issues
    .flatMap((issue) => flatten(issue, []))
    .flatMap((issue) => describe(schema, data, { ...issue, path: asWritten(data, issue.path) }));
  const isTypeless = ({ message }: DataProblem): boolean => message.includes(ONE_EXECUTOR);
  const wantsOneKey = ({ message }: DataProblem): boolean => / exactly one of /.test(message);
  const withUnknownKey = new Set(problems.flatMap(({ path, key }) => (key === undefined ? [] : [path.join()])));
  const typeless = new Set(problems.flatMap((problem) => (isTypeless(problem) ? [problem.path.join()] : [])));
  // Who misspells the one key that must be there is told so once, and not also that it is missing.
  const told = problems.filter((problem) => !(wantsOneKey(problem) && withUnknownKey.has(problem.path.join())));
  return told.map((problem) =>
    problem.key !== undefined && typeless.has(problem.path.join()) && problem.message.includes(ALLOWED_HERE)
      ? { ...problem, message: `${problem.message}; a plugin's type is known where SLUICE_PLUGINS names the plugin` }
      : problem,
  );
}

/** A single schedule is a list of one in the model, which is what rules of several fields are asked about. */
function asWritten(data: unknown, path: Path): Path {
  const [first, second, ...rest] = path;
  const isInList = first === "schedule" && typeof second === "number";
  return isInList && !Array.isArray(valueAt(data, ["schedule"])) ? ["schedule", ...rest] : path;
}

type Flat = { issue: Issue; path: Path; alternatives?: string[] };

/** An issue of a union is the issues of the branch that was meant; when none was, all that may stand there. */
function flatten(issue: Issue, prefix: Path): Flat[] {
  const path = [...prefix, ...issue.path];
  if (issue.code !== "invalid_union") return [{ issue, path }];
  const branches = issue.errors.map((errors) => errors.flatMap((inner) => flatten(inner, path)));
  const meant = branches.filter((branch) => !branch.some((flat) => isOfWrongType(flat, path)));
  const [best] = meant.toSorted((a, b) => faults(a) - faults(b));
  if (best !== undefined) return best;
  const expected = branches.flat().flatMap((flat) => flat.alternatives ?? expectedBy(flat.issue) ?? []);
  return [{ issue, path, alternatives: [...new Set(expected)] }];
}

/** How far what was written is from a branch; a key that is missing there and only misspelt here speaks for it. */
function faults(branch: readonly Flat[]): number {
  const unknown = branch.flatMap(({ issue }) => (issue.code === "unrecognized_keys" ? issue.keys : []));
  const missing = branch.flatMap(({ issue, path }) => (issue.code === "invalid_type" ? [String(path.at(-1))] : []));
  return branch.length - unknown.filter((key) => nearestName(key, missing) !== undefined).length;
}

function isOfWrongType({ issue, path }: Flat, at: Path): boolean {
  return path.length === at.length && (issue.code === "invalid_type" || issue.code === "invalid_union");
}

const TYPE_NAMES: Record<string, string> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping",
  record: "a mapping",
  null: "nothing",
};

function expectedBy(issue: Issue): string | undefined {
  if (issue.code === "invalid_type") return TYPE_NAMES[issue.expected] ?? issue.expected;
  if (issue.code === "invalid_value") return issue.values.map((value) => JSON.stringify(value)).join(", ");
  return undefined;
}

function describe(schema: z.ZodType, data: unknown, { issue, path, alternatives }: Flat): DataProblem[] {
  if (issue.code === "invalid_key") return [invalidKey(data, path, issue)];
  const { unknownKeys, known } = unknownKeysOf(schema, path, issue);
  if (unknownKeys.length > 0) return unknownKeys.map((key) => unknownKey(data, path, key, known));
  const value = valueAt(data, path);
  const where = placeOf(data, path);
  const expected = alternatives?.join(" or ") ?? expectedBy(issue);
  if (value === undefined && expected !== undefined)
    return [{ path, message: `${where}is missing; it must be ${expected}`, found: "nothing", expected }];
  const found = describeValue(value);
  if (issue.code === "invalid_value") {
    const near = typeof value === "string" ? nearestName(value, issue.values.map(String)) : undefined;
    const hint = near === undefined ? `expected one of ${expected}` : `did you mean "${near}"?`;
    return [{ path, message: `${where}${found} is not known here; ${hint}`, found, expected }];
  }
  if (expected !== undefined)
    return [
      { path, message: `${where}expected ${expected}, found ${found}${quoting(value, expected)}`, found, expected },
    ];
  return [{ path, message: `${where}${issue.message}`, found }];
}

const ALLOWED_HERE = "allowed here: ";

function unknownKeysOf(schema: z.ZodType, path: Path, issue: Issue): UnknownKeys {
  if (issue.code === "unrecognized_keys") return { unknownKeys: issue.keys, known: keysAt(schema, path) };
  const ofPlugin = issue.code === "custom" ? (issue.params as UnknownKeys | undefined) : undefined;
  return ofPlugin ?? { unknownKeys: [], known: [] };
}

const MERGE = 'merge keys (<<) are not read; repeat the values, or use the DAG\'s "defaults"';

function invalidKey(data: unknown, path: Path, issue: Extract<Issue, { code: "invalid_key" }>): DataProblem {
  const parent = path.slice(0, -1);
  const key = String(path.at(-1));
  const reason = key === "<<" ? MERGE : `the key "${key}" cannot be used: ${issue.issues[0]?.message ?? issue.message}`;
  return { path: parent, key, found: `the key "${key}"`, message: `${placeOf(data, parent)}${reason}` };
}

function unknownKey(data: unknown, path: Path, key: string, known: readonly string[] | undefined): DataProblem {
  const expected = known?.join(", ");
  const where = placeOf(data, path);
  const about = { path, key, found: `the key "${key}"`, expected };
  if (key === "<<") return { ...about, message: `${where}${MERGE}` };
  if (path.length === 0 && Object.hasOwn(taskOptions, key))
    return { ...about, message: `"${key}" is an option of tasks; for all tasks of the DAG, put it under "defaults"` };
  if (known === undefined) return { ...about, message: `${where}unknown key "${key}"` };
  const near = nearestName(key, known);
  const hint = near === undefined ? `${ALLOWED_HERE}${expected || "nothing"}` : `did you mean "${near}"?`;
  return { ...about, message: `${where}unknown key "${key}"; ${hint}` };
}

/** What people write when they come from older YAML, or forget the quotes. */
function quoting(value: unknown, expected: string): string {
  if (expected === "true or false" && typeof value === "string" && /^(yes|no|on|off)$/i.test(value))
    return `; write ${/^(yes|on)$/i.test(value) ? "true" : "false"}`;
  const isScalar = typeof value === "number" || typeof value === "boolean";
  return expected === "a text" && isScalar ? `; put it into quotes: "${String(value)}"` : "";
}

/** Where in the file, with a task's id instead of its number: `task "load": retries.max: `. */
export function placeOf(data: unknown, path: Path): string {
  const isTask = path[0] === "tasks" && typeof path[1] === "number";
  if (!isTask) return path.length === 0 ? "" : `${dotted(path)}: `;
  const id = valueAt(data, [...path.slice(0, 2), "id"]);
  const task = typeof id === "string" ? `task "${id.slice(0, 64)}"` : `task number ${(path[1] as number) + 1}`;
  return path.length === 2 ? `${task}: ` : `${task}: ${dotted(path.slice(2))}: `;
}

function dotted(path: Path): string {
  return path
    .map((key, index) => (typeof key === "number" ? `[${key}]` : `${index > 0 ? "." : ""}${String(key)}`))
    .join("");
}

function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
