import { isMap, LineCounter, type Node, parseDocument, type ParsedNode, type Document } from "yaml";
import type { z } from "zod";
import type { DagSpec } from "../model/dag.ts";
import { BashConfig } from "../model/task-types.ts";
import { graphProblems, type Problem } from "../graph.ts";
import { expressionProblems } from "./expression-problems.ts";
import { nearestName } from "../nearest.ts";
import { FileDag, FileTask } from "./schema.ts";
import { toSpec } from "./to-spec.ts";

/** The YAML and JSON face of a DAG (JSON is read as the YAML it also is). */

/** Caps that come before the parse: the parser's time grows faster than its input. */
const MAX_BYTES = 1_000_000;
const MAX_ALIASES = 100;

/** One mistake in a definition file; `line` and `column` count from 1. */
export type FileProblem = { file: string; line: number; column: number; message: string };

export type DefinitionResult = { ok: true; spec: DagSpec } | { ok: false; problems: FileProblem[] };

/** Reads one definition. `file` is only used in messages. Never throws for what the text holds. */
export function parseDefinition(text: string, file: string): DefinitionResult {
  const lines = new LineCounter();
  const fail = (problems: { offset: number; message: string }[]): DefinitionResult => ({
    ok: false,
    problems: problems.map(({ offset, message }) => {
      const { line, col } = lines.linePos(offset);
      return { file, line: Math.max(1, line), column: Math.max(1, col), message };
    }),
  });
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_BYTES)
    return fail([{ offset: 0, message: `the file has ${bytes} bytes; at most ${MAX_BYTES} are read` }]);

  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: false });
  if (document.errors.length > 0) {
    return fail(document.errors.map((error) => ({ offset: error.pos[0], message: error.message })));
  }
  const value = toPlainValue(document);
  if (!value.ok) return fail([{ offset: 0, message: value.message }]);

  const parsed = FileDag.safeParse(value.data);
  if (!parsed.success) {
    return fail(
      parsed.error.issues.flatMap((issue) =>
        issue.code === "unrecognized_keys"
          ? issue.keys.map((key) => ({
              offset: keyOffsetOf(document, issue.path, key),
              message: unknownKey(key, issue.path),
            }))
          : [{ offset: offsetOf(document, issue.path), message: describeIssue(issue) }],
      ),
    );
  }
  const spec = toSpec(parsed.data, value.data);
  const problems = [...graphProblems(spec.tasks), ...expressionProblems(spec)];
  if (problems.length > 0) {
    return fail(
      problems.map((problem: Problem) => ({ offset: offsetOf(document, problem.path), message: problem.message })),
    );
  }
  return { ok: true, spec };
}

function toPlainValue(document: Document.Parsed): { ok: true; data: unknown } | { ok: false; message: string } {
  try {
    return { ok: true, data: document.toJS({ maxAliasCount: MAX_ALIASES }) };
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : "the document cannot be read" };
  }
}

/** The keys that a mapping at this depth of the file may have. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  const shapes = [FileDag.shape, undefined, FileTask.shape, BashConfig.shape];
  return Object.keys(shapes[path.length] ?? {});
}

function unknownKey(key: string, path: readonly PropertyKey[]): string {
  const known = knownKeys(path);
  const near = nearestName(key, known);
  return near === undefined
    ? `unknown key "${key}"; allowed here: ${known.join(", ")}`
    : `unknown key "${key}"; did you mean "${near}"?`;
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const where = issue.path.map(String).join(".");
  return where === "" ? issue.message : `${where}: ${issue.message}`;
}

/** Start of the deepest node that exists on the path. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as ParsedNode | undefined;
    if (node?.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

/** Start of a key itself, not of what it holds. */
function keyOffsetOf(document: Document.Parsed, path: readonly PropertyKey[], key: string): number {
  const parent = document.getIn(path, true);
  const pair = isMap(parent) ? parent.items.find((item) => String(item.key) === key) : undefined;
  return (pair?.key as Node | undefined)?.range?.[0] ?? offsetOf(document, path);
}
