import type { ASTNode } from "@marcbachmann/cel-js";
import { type Budget, MAX_TEXT, textSteps } from "./budget.ts";

/**
 * A node as the library's checker leaves it (of the pinned version: its types name the tree only). `handle` is given the values of
 * what is below it; a macro has its expansion in `alternate`.
 */
type CheckedNode = {
  op: string;
  args: unknown;
  handle?: Handle;
  meta: { alternate?: CheckedNode; macro?: { val?: CheckedNode; exp?: CheckedNode }; evaluate: Handle };
  setMeta(key: "evaluate", value: Handle): unknown;
};
type Handle = (...given: unknown[]) => unknown;

type Loop = { iterable: CheckedNode; step: CheckedNode; kind?: "quantifier" };

/**
 * Has each node of a checked tree spend what it is about to do. What the library does in one step of its own is bounded by the
 * values that it is given, so their sizes are what is counted.
 */
export function countCosts(ast: ASTNode, budget: Budget): void {
  budget.spend(counted(ast as unknown as CheckedNode, budget));
}

/** The steps to go through all nodes once, each of which spends from now on what its values cost beside. */
function counted(node: CheckedNode, budget: Budget): number {
  const { alternate, macro } = node.meta;
  if (alternate !== undefined) return counted(alternate, budget);
  if (macro !== undefined) return 1 + countedAll([macro.val, macro.exp].filter(isNode), budget);
  if (node.op === "comprehension") return countedLoop(node, node.args as Loop, budget);
  if (node.op === "||" || node.op === "&&") countErrors((node.args as CheckedNode[])[0]!, budget);
  const costs = costsOf(node);
  const { handle } = node;
  if (costs !== undefined && handle !== undefined)
    node.handle = (...given) => {
      budget.spend(costs(given, budget));
      const value = handle(...given);
      if (typeof value === "string" && value.length > MAX_TEXT)
        throw new Error(`a text of ${value.length} characters; an expression makes at most ${MAX_TEXT}`);
      return value;
    };
  return made(node) + countedAll([node.args].flat(3).filter(isNode), budget);
}

/** A list or a mapping that is made takes memory, and a mapping so much for each of its entries. */
const MADE_STEPS = 8;

function made({ op, args }: CheckedNode): number {
  if (op === "list") return MADE_STEPS;
  return op === "map" ? MADE_STEPS * (1 + (args as unknown[]).length) : 1;
}

function countedAll(nodes: readonly CheckedNode[], budget: Budget): number {
  return nodes.reduce((sum, node) => sum + counted(node, budget), 0);
}

const isNode = (value: unknown): value is CheckedNode => typeof value === "object" && value !== null && "op" in value;

/** A loop is paid for before it begins, whatever ends it early. */
function countedLoop(node: CheckedNode, { iterable, step, kind }: Loop, budget: Budget): number {
  const nodes = counted(step, budget);
  if (kind === "quantifier") countErrors(step, budget);
  const handle = node.handle!;
  node.handle = (items, ...rest) => {
    budget.spend(shallow(items) * (nodes + 1));
    return handle(items, ...rest);
  };
  return nodes + counted(iterable, budget);
}

/** An error has a text and a stack. */
const ERROR_STEPS = 1_000;

/** For a node whose errors are caught: in a loop there may be one for each item. */
function countErrors(node: CheckedNode, budget: Budget): void {
  const inner = node.meta.alternate ?? node;
  const { evaluate } = inner.meta;
  inner.setMeta("evaluate", (...given) => {
    budget.spend(0);
    try {
      return evaluate(...given);
    } catch (error) {
      budget.spend(ERROR_STEPS);
      throw error;
    }
  });
}

type Costs = (given: readonly unknown[], budget: Budget) => number;

/** `handle` of a call has its arguments as a list, of an operator as they are. */
function costsOf({ op, args }: CheckedNode): Costs | undefined {
  if (op === "call" || op === "rcall") {
    const costs = CALLS[(args as [string])[0]] ?? allShallow;
    return ([values], budget) => costs(values as unknown[], budget);
  }
  return OPERATORS[op];
}

/** Of a value itself, and not of what is in it. */
function shallow(value: unknown): number {
  if (typeof value === "string") return textSteps(value);
  if (typeof value !== "object" || value === null) return 1;
  if (Array.isArray(value)) return 1 + value.length;
  if (value instanceof Uint8Array) return textSteps(value);
  return 1 + Object.keys(value).length;
}

const allShallow = (values: readonly unknown[]): number =>
  values.reduce<number>((sum, value) => sum + shallow(value), 0);

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

/**
 * Texts are compared to the end of the smaller one at most. Of two mappings the keys of both are listed first, wherever they are
 * in what is compared.
 */
const comparing: Costs = ([a, b], { sizeOf }) => {
  if (a === b || (Array.isArray(a) && Array.isArray(b) && a.length !== b.length)) return 1;
  return isObject(a) && isObject(b) ? sizeOf(a) + sizeOf(b) : Math.min(sizeOf(a), sizeOf(b));
};

/** The value is compared with each of them. */
const finding: Costs = ([value, all], { sizeOf }) => {
  if (!Array.isArray(all)) return 1;
  const values = all.length * sizeOf(value);
  return 1 + (isObject(value) ? values + sizeOf(all) : Math.min(values, sizeOf(all)));
};

const ordering: Costs = ([a, b]) =>
  typeof a === "string" && typeof b === "string" ? Math.min(textSteps(a), textSteps(b)) : 1;

/** In the worst text, each place is compared with all of what is looked for. */
const searching: Costs = ([text, part]) => shallow(text) * shallow(part);

/** Of two operands, the sum of which is made or the order of which is asked. */
const OPERATORS: Readonly<Record<string, Costs>> = {
  "==": comparing,
  "!=": comparing,
  in: finding,
  "+": allShallow,
  "<": ordering,
  "<=": ordering,
  ">": ordering,
  ">=": ordering,
};

/** The formatter of a time zone is made at each call. */
const ZONE_STEPS = 10_000;
const inZone: Costs = ({ length }) => (length > 1 ? ZONE_STEPS : 1);

const MAX_DURATION = 64;

/** Its pattern takes time that grows with the cube of a text, and no duration is longer. */
const duration: Costs = ([text]) => {
  if (typeof text === "string" && text.length > MAX_DURATION)
    throw new Error(`a duration like 90s or 1h30m has at most ${MAX_DURATION} characters`);
  return 4 * MAX_DURATION;
};

/** Each value between commas becomes one of the expression. */
const reading: Costs = ([text]) => {
  if (typeof text !== "string") return 1;
  let values = 1;
  for (let at = text.indexOf(","); at >= 0; at = text.indexOf(",", at + 1)) values++;
  return 2 * textSteps(text) + 10 * values;
};

const GETTERS = "Date DayOfMonth DayOfWeek DayOfYear FullYear Hours Milliseconds Minutes Month Seconds".split(" ");

const CALLS: Readonly<Record<string, Costs>> = {
  toJson: ([value], { sizeOf }) => 4 * sizeOf(value),
  fromJson: reading,
  // Each character may be a quote.
  shellQuote: ([text]) => 32 * shallow(text),
  join: ([list, separator], budget) => budget.sizeOf(list) + shallow(list) * shallow(separator),
  // Each character may be a part.
  split: ([text, separator]) => shallow(text) * (8 + shallow(separator)),
  duration,
  contains: searching,
  indexOf: searching,
  lastIndexOf: searching,
  // A mapping's keys are listed, a text's characters counted.
  size: ([value]) => (Array.isArray(value) ? 1 : 20 * shallow(value)),
  ...Object.fromEntries(GETTERS.map((getter) => [`get${getter}`, inZone])),
};
