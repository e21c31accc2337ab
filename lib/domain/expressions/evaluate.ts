import type { Json } from "../canonical.ts";
import type { RunTimes } from "../run-times.ts";
import { type Budget, createBudget, TooCostly } from "./budget.ts";
import { parseExpression, usesOf } from "./check.ts";
import { countCosts } from "./costs.ts";
import { ENVIRONMENT, type Root } from "./environment.ts";
import { celValue } from "./functions.ts";
import { parseTemplate } from "./template.ts";

/** What expressions see. The times of `run` are ISO texts here and timestamps there. */
export type ExpressionValues = {
  params: Readonly<Record<string, unknown>>;
  outputs: Readonly<Record<string, unknown>>;
  xcoms: Readonly<Record<string, unknown>>;
  run: RunTimes<string> & { id: string; dagId: string; triggerKind: string };
  /** `attemptId` is the key by which other systems tell a repetition. */
  task: { id: string; attempt: number; attemptId: string };
  /** Those that the expressions name; none of them is in any error. */
  secrets?: Readonly<Record<string, string>>;
};

/** What the expressions of one task share: what they may still do, and values that are converted already. */
export type Shared = { budget: Budget; converted: WeakMap<object, unknown> };

export function createShared(): Shared {
  return { budget: createBudget(), converted: new WeakMap() };
}

export type Evaluated<T> = { ok: true; value: T } | { ok: false; error: string };

/** Of a text, or of another value as JSON, in characters. */
const MAX_RESULT = 1_048_576;

/** The library does not export these classes; both have a number as their value (milliseconds, for a duration). */
const DURATION = classOf('duration("1s")');
const UNSIGNED = classOf("1u");

function classOf(source: string): new () => { valueOf(): number | bigint } {
  return (ENVIRONMENT.evaluate(source) as object).constructor as new () => { valueOf(): number | bigint };
}

/**
 * A text with its expressions evaluated. One that is nothing but an expression keeps the value's type; otherwise
 * values are joined as text, and what is no text as JSON. Texts of one task are given the same `shared`. Never throws.
 */
export function evaluateTemplate(text: string, values: ExpressionValues, shared = createShared()): Evaluated<Json> {
  const template = parseTemplate(text);
  if (!template.ok) return { ok: false, error: template.problems[0]!.message };
  const [only] = template.parts;
  if (template.parts.length === 1 && only?.kind === "expression")
    return evaluateExpression(only.source, values, shared);
  let joined = "";
  for (const part of template.parts) {
    const value: Evaluated<Json> =
      part.kind === "text" ? { ok: true, value: part.text } : evaluateExpression(part.source, values, shared);
    if (!value.ok) return value;
    joined += typeof value.value === "string" ? value.value : JSON.stringify(value.value);
    if (joined.length > MAX_RESULT) return tooLarge();
  }
  return { ok: true, value: joined };
}

/** One expression's value as plain JSON: timestamps as ISO text, durations as seconds like `90s`. Never throws. */
export function evaluateExpression(source: string, values: ExpressionValues, shared = createShared()): Evaluated<Json> {
  const parsed = parseExpression(source);
  if (!parsed.ok) return { ok: false, error: `${source.trim()}: ${parsed.problem.message}` };
  const { ast, program } = parsed;
  const { budget } = shared;
  const uses = usesOf(ast);
  try {
    const { error } = program.check();
    if (error !== undefined) throw new Error(error.summary);
    countCosts(ast, budget);
    const result: unknown = program(context(values, uses, shared));
    // An error in a part of it may have been caught, also that it costs too much.
    const size = budget.sizeOf(result);
    budget.spend(size);
    // No value is shorter as JSON than the steps to look at it.
    if (size > MAX_RESULT) return tooLarge();
    const value = plain(result);
    const length = typeof value === "string" ? value.length : JSON.stringify(value).length;
    return length > MAX_RESULT ? tooLarge() : { ok: true, value };
  } catch (error) {
    // A part of a secret in a message would be found by no mask.
    if (uses.has("secrets") && !(error instanceof TooCostly))
      return { ok: false, error: `${source.trim()}: this fails; why is not told, because it may tell of a secret` };
    const summary = (error as { summary?: string }).summary ?? (error instanceof Error ? error.message : String(error));
    return { ok: false, error: `${source.trim()}: ${summary}` };
  }
}

/** A condition: `${{ … }}` around one expression that says true or false. */
export function evaluateCondition(text: string, values: ExpressionValues, shared = createShared()): Evaluated<boolean> {
  const result = evaluateTemplate(text, values, shared);
  if (!result.ok) return result;
  if (typeof result.value === "boolean") return { ok: true, value: result.value };
  return {
    ok: false,
    error: `a condition must be true or false; ${text.trim()} is ${JSON.stringify(result.value)?.slice(0, 100)}`,
  };
}

function tooLarge(): { ok: false; error: string } {
  return { ok: false, error: `an expression gives at most ${MAX_RESULT} characters, as text or as JSON` };
}

/** Values may be large: only those that are named are handed over, unless all of them are, and each is converted once. */
function context(
  values: ExpressionValues,
  uses: ReturnType<typeof usesOf>,
  { converted }: Shared,
): Record<Root, unknown> {
  const convert = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return celValue(value);
    const known = converted.get(value) ?? celValue(value);
    converted.set(value, known);
    return known;
  };
  const root = (name: Exclude<Root, "run">): unknown => {
    const members = values[name] ?? {};
    const names = uses.has(name) ? (uses.get(name) ?? Object.keys(members)) : [];
    const handed = Object.create(null) as Record<string, unknown>;
    for (const key of names)
      if (Object.hasOwn(members, key)) handed[key] = convert((members as Record<string, unknown>)[key]);
    return handed;
  };
  return {
    params: root("params"),
    outputs: root("outputs"),
    xcoms: root("xcoms"),
    run: uses.has("run") ? Object.assign(Object.create(null) as object, values.run, timestamps(values.run)) : {},
    task: root("task"),
    secrets: root("secrets"),
  };
}

function timestamps({ logicalDate, intervalStart, intervalEnd }: RunTimes<string>): RunTimes {
  return {
    logicalDate: new Date(logicalDate),
    intervalStart: new Date(intervalStart),
    intervalEnd: new Date(intervalEnd),
  };
}

function plain(value: unknown): Json {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "bigint") return wholeNumber(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Error(`the result ${value} is not a number that JSON can hold`);
    return value;
  }
  if (Array.isArray(value)) return value.map(plain);
  return plainObject(value);
}

function wholeNumber(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new Error(`the result ${value} is too large a number`);
  return number;
}

function plainObject(value: unknown): Json {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof DURATION) return `${Number(value.valueOf()) / 1_000}s`;
  if (value instanceof UNSIGNED) return wholeNumber(BigInt(value.valueOf()));
  if (value instanceof Uint8Array) throw new Error("the result is bytes; text was expected");
  const entries = value instanceof Map ? [...(value as Map<unknown, unknown>)] : Object.entries(value as object);
  const isPlain =
    value instanceof Map || Object.getPrototypeOf(value) === null || Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain) throw new Error("the result is not a value that JSON can hold");
  return Object.fromEntries(entries.map(([key, member]) => [String(key), plain(member)]));
}
