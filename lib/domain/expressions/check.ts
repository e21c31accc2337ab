import type { ASTNode, ParseResult } from "@marcbachmann/cel-js";
import { nearestName } from "../nearest.ts";
import { SECRET_NAME, SECRET_NAME_RULE } from "../secrets/names.ts";
import { ENVIRONMENT, MEMBERS, ROOTS } from "./environment.ts";
import { MAX_SOURCE, type ExpressionProblem, parseTemplate } from "./template.ts";

/** What expressions of a task may refer to. */
export type Scope = {
  params: ReadonlySet<string>;
  outputs: ReadonlySet<string>;
  /** False where there is no task: in what a run's end calls. */
  hasTask?: boolean;
  /** Why no secret may be used in this place; absent where one may. */
  refusesSecrets?: string;
  /** How many names that do not exist are still compared with those that do; each takes one. As many as there are, where absent. */
  hints?: { left: number };
};

const MEMBERS_OF_RUN = new Set<string>(MEMBERS.run);
const MEMBERS_OF_TASK = new Set<string>(MEMBERS.task);
const NOTHING: ReadonlySet<string> = new Set();

/** Everything wrong with the expressions of a text, as far as can be told before a run. Never throws. */
export function checkTemplate(text: string, scope: Scope): ExpressionProblem[] {
  const template = parseTemplate(text);
  if (!template.ok) return template.problems;
  return template.parts.flatMap((part) =>
    part.kind === "text"
      ? []
      : checkExpression(part.source, scope).map(({ offset, message }) => ({ offset: part.offset + offset, message })),
  );
}

/** The same for one expression. */
export function checkExpression(source: string, scope: Scope): ExpressionProblem[] {
  const parsed = parseExpression(source);
  if (!parsed.ok) return [parsed.problem];
  const problems = [...referenceProblems(parsed.ast, scope), ...secretProblems(parsed.ast, scope)];
  if (problems.length > 0) return problems;
  const { valid, error } = parsed.program.check();
  return valid || error === undefined ? [] : [{ offset: error.range?.start ?? 0, message: lowerFirst(error.summary) }];
}

export type Parsed = { ok: true; ast: ASTNode; program: ParseResult } | { ok: false; problem: ExpressionProblem };

/** The syntax tree of an expression, and what checks and evaluates this very tree. Never throws. */
export function parseExpression(source: string): Parsed {
  if (source.length > MAX_SOURCE)
    return { ok: false, problem: { offset: 0, message: `an expression has at most ${MAX_SOURCE} characters` } };
  if (source.trim() === "") return { ok: false, problem: { offset: 0, message: "the expression is empty" } };
  try {
    const program = ENVIRONMENT.parse(source);
    const { ast } = program;
    const [problem] = costProblems(ast);
    return problem === undefined ? { ok: true, ast, program } : { ok: false, problem };
  } catch (error) {
    const { summary, range } = error as { summary?: string; range?: { start: number } };
    const message = summary ?? (error instanceof Error ? error.message : String(error));
    return { ok: false, problem: { offset: range?.start ?? 0, message: `not an expression: ${lowerFirst(message)}` } };
  }
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

const MACROS = new Set(["all", "exists", "exists_one", "map", "filter"]);

/** Functions of the library whose work no size of their arguments bounds, or that lead round our own. */
const UNAVAILABLE: Readonly<Record<string, string>> = {
  // Patterns can be made to search for ever.
  matches: "use contains, startsWith or endsWith",
  json: "use fromJson of a text",
};

/** Loops in loops could cost the square of their input. */
function costProblems(ast: ASTNode): ExpressionProblem[] {
  const problems: ExpressionProblem[] = [];
  walk(ast, false, (node, inMacro) => {
    const name = calledName(node);
    if (name !== undefined && Object.hasOwn(UNAVAILABLE, name))
      problems.push({ offset: node.start, message: `${name}() is not available; ${UNAVAILABLE[name]}` });
    if (inMacro && name !== undefined && MACROS.has(name))
      problems.push({ offset: node.start, message: `${name}() cannot stand inside another loop` });
  });
  return problems;
}

function calledName(node: ASTNode): string | undefined {
  return node.op === "call" || node.op === "rcall" ? node.args[0] : undefined;
}

/** Names of params, parents and members that do not exist. */
function referenceProblems(ast: ASTNode, scope: Scope): ExpressionProblem[] {
  const known: Record<string, { names: ReadonlySet<string>; what: string }> = {
    params: { names: scope.params, what: "a param of this DAG" },
    outputs: { names: scope.outputs, what: "a task in dependsOn" },
    xcoms: { names: scope.outputs, what: "a task in dependsOn" },
    run: { names: MEMBERS_OF_RUN, what: "something a run has" },
    task: { names: scope.hasTask === false ? NOTHING : MEMBERS_OF_TASK, what: "something a task has" },
  };
  const problems: ExpressionProblem[] = [];
  for (const { root, member, offset } of references(ast)) {
    const target = known[root];
    if (target === undefined || member === undefined || target.names.has(member)) continue;
    problems.push({ offset, message: `"${member}" is not ${target.what}; ${hint(member, target.names, scope.hints)}` });
  }
  return problems;
}

/** Comparing with every name is quadratic over a file full of mistakes; beyond this many none is compared. */
const MAX_NAMES_COMPARED = 1_000;

function hint(name: string, known: ReadonlySet<string>, hints: Scope["hints"]): string {
  const compares = known.size <= MAX_NAMES_COMPARED && (hints === undefined || hints.left-- > 0);
  const near = compares ? nearestName(name, [...known]) : undefined;
  if (near !== undefined) return `did you mean "${near}"?`;
  return known.size === 0 ? "there is none" : `there is: ${[...known.keys().take(20)].join(", ")}`;
}

/**
 * Which secrets a task needs must be known before it runs, so that no others are fetched: each is named as it is, and
 * all of them together are not a value.
 */
function secretProblems(ast: ASTNode, { refusesSecrets }: Scope): ExpressionProblem[] {
  const named = new Map(references(ast).map(({ object, member }) => [object, member]));
  const problems: ExpressionProblem[] = [];
  walk(ast, false, (node) => {
    if (node.op !== "id" || node.args !== "secrets") return;
    const name = named.get(node);
    if (refusesSecrets !== undefined) problems.push({ offset: node.start, message: refusesSecrets });
    else if (name === undefined)
      problems.push({ offset: node.start, message: "a secret is written with its name, as in secrets.WAREHOUSE_URL" });
    else if (!SECRET_NAME.test(name))
      problems.push({ offset: node.start, message: `"${name}" is not the name of a secret; ${SECRET_NAME_RULE}` });
  });
  return problems;
}

type Reference = { root: string; member: string | undefined; offset: number; object: ASTNode };

/** Each mention of a root, with the member when it is written out. */
export function references(ast: ASTNode): Reference[] {
  const found: Reference[] = [];
  walk(ast, false, (node) => {
    if (node.op !== "." && node.op !== "[]") return;
    const [object, key] = node.args;
    if (object.op !== "id" || !Object.hasOwn(ROOTS, object.args)) return;
    const member =
      typeof key === "string" ? key : key.op === "value" && typeof key.args === "string" ? key.args : undefined;
    found.push({ root: object.args, member, offset: node.start, object });
  });
  return found;
}

/** The roots that an expression uses, and of each the members that it names; undefined when it may use any of them. */
export function usesOf(ast: ASTNode): ReadonlyMap<string, ReadonlySet<string> | undefined> {
  const named = new Map(references(ast).map(({ object, member }) => [object, member]));
  const uses = new Map<string, Set<string> | undefined>();
  walk(ast, false, (node) => {
    if (node.op !== "id" || !Object.hasOwn(ROOTS, node.args)) return;
    const member = named.get(node);
    const members = uses.has(node.args) ? uses.get(node.args) : new Set<string>();
    uses.set(node.args, member === undefined ? undefined : members?.add(member));
  });
  return uses;
}

/** Visits every node; the tree's depth and size are limited by the parser. */
function walk(node: ASTNode, inMacro: boolean, visit: (node: ASTNode, inMacro: boolean) => void): void {
  visit(node, inMacro);
  const name = calledName(node);
  const loops = inMacro || (node.op === "rcall" && name !== undefined && MACROS.has(name));
  if (node.op === "rcall") {
    walk(node.args[1], inMacro, visit);
    for (const argument of node.args[2]) walk(argument, loops, visit);
    return;
  }
  for (const child of children(node)) walk(child, loops, visit);
}

function children(node: ASTNode): ASTNode[] {
  const isNode = (value: unknown): value is ASTNode => typeof value === "object" && value !== null && "op" in value;
  const flat = Array.isArray(node.args) ? (node.args as unknown[]).flat(2) : [node.args];
  return flat.filter(isNode);
}
