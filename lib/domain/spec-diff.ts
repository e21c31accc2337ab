import { canonicalJson, type Json } from "./canonical.ts";
import { compactSpec, type DagSpec } from "./model/dag.ts";

/** One field that differs; `path` is below the DAG, or below the task. A side without the field has none. */
export type FieldChange = { path: string; before?: Json; after?: Json };

export type SpecChange =
  | { kind: "dag"; fields: FieldChange[] }
  | { kind: "added" | "removed"; task: string }
  | { kind: "changed"; task: string; fields: FieldChange[] };

type Members = { [key: string]: Json };

/**
 * What differs between two specs, as people wrote them: tasks by id, fields by path. The order of tasks and of
 * `dependsOn` and `tags` is no difference. An empty list means that both behave the same.
 */
export function diffSpecs(before: DagSpec, after: DagSpec): SpecChange[] {
  const [{ tasks: old, ...oldDag }, { tasks: now, ...nowDag }] = [compactSpec(before), compactSpec(after)];
  const oldTasks = new Map(old.map((task) => [task["id"] as string, task]));
  const nowTasks = new Map(now.map((task) => [task["id"] as string, task]));
  const dag = fieldChanges(oldDag, nowDag);
  return [
    ...(dag.length === 0 ? [] : [{ kind: "dag" as const, fields: dag }]),
    ...[...oldTasks.keys()].filter((id) => !nowTasks.has(id)).map((task) => ({ kind: "removed" as const, task })),
    ...[...nowTasks].flatMap(([task, spec]): SpecChange[] => {
      const known = oldTasks.get(task);
      if (known === undefined) return [{ kind: "added", task }];
      const fields = fieldChanges(known, spec);
      return fields.length === 0 ? [] : [{ kind: "changed", task, fields }];
    }),
  ];
}

const isMembers = (value: Json | undefined): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function fieldChanges(before: Members, after: Members, prefix = ""): FieldChange[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].toSorted().flatMap((key): FieldChange[] => {
    const path = `${prefix}${key}`;
    const [old, now] = [before[key], after[key]];
    if (isMembers(old) && isMembers(now)) return fieldChanges(old, now, `${path}.`);
    if (isSame(key, old, now)) return [];
    return [{ path, ...(old === undefined ? {} : { before: old }), ...(now === undefined ? {} : { after: now }) }];
  });
}

/** Lists of which the order means nothing. */
const SETS = new Set(["dependsOn", "tags"]);

function isSame(key: string, old: Json | undefined, now: Json | undefined): boolean {
  if (old === undefined || now === undefined) return old === now;
  const comparable = (value: Json): string =>
    canonicalJson(SETS.has(key) && Array.isArray(value) ? (value as Json[]).map(canonicalJson).toSorted() : value);
  return comparable(old) === comparable(now);
}

/** The changes as text: `+` added, `-` removed, `~` changed, with the fields below. */
export function formatDiff(changes: readonly SpecChange[]): string {
  return changes.flatMap(lines).join("\n");
}

function lines(change: SpecChange): string[] {
  switch (change.kind) {
    case "added":
      return [`+ task ${change.task}`];
    case "removed":
      return [`- task ${change.task}`];
    case "dag":
      return ["~ the DAG", ...change.fields.map(fieldLine)];
    case "changed":
      return [`~ task ${change.task}`, ...change.fields.map(fieldLine)];
  }
}

function fieldLine({ path, before, after }: FieldChange): string {
  const text = (value: Json | undefined): string =>
    value === undefined ? "(default)" : shorten(JSON.stringify(value));
  return `    ${path}: ${text(before)} → ${text(after)}`;
}

const shorten = (text: string): string => (text.length > 120 ? `${text.slice(0, 117)}…` : text);
