import { CronExpressionParser } from "cron-parser";
import { nearestName } from "../../nearest.ts";

/** One item of a field of a cron expression, such as `5`, `*`, `mon-fri` or `8-18/2`, and what can be wrong with it. */

export type Field = {
  name: "second" | "minute" | "hour" | "day of month" | "month" | "weekday";
  min: number;
  max: number;
  /** Names of values, the first one of `min`. */
  names: readonly string[];
};

const MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split(" ");
export const WEEKDAYS = "sun mon tue wed thu fri sat".split(" ");

/** In the order in which they are written; with five fields the first is left out. */
export const FIELDS: readonly Field[] = [
  { name: "second", min: 0, max: 59, names: [] },
  { name: "minute", min: 0, max: 59, names: [] },
  { name: "hour", min: 0, max: 23, names: [] },
  { name: "day of month", min: 1, max: 31, names: [] },
  { name: "month", min: 1, max: 12, names: MONTHS },
  { name: "weekday", min: 0, max: 7, names: WEEKDAYS },
];

export type Item = {
  values: readonly number[];
  /** It is written as all of the field or as every n-th of all of it: `*`, `0-59`, `*` with a step. */
  isWhole: boolean;
};

export type ItemResult = { ok: true; item: Item } | { ok: false; message: string };

const PLAIN = /^(?:([*?])|(\w+)(?:-(\w+))?)(?:\/(\w+))?$/;

/** Reads one item. cron-parser says which values it has; the mistakes it would tell without their place are told here. */
export function parseItem(field: Field, text: string): ItemResult {
  const problem = itemProblem(field, text);
  if (problem !== undefined)
    return { ok: false, message: `the ${field.name} field has "${text.slice(0, 40)}": ${problem}` };
  const [, star, from, to, step] = PLAIN.exec(text) ?? [];
  const end = to ?? (step === undefined ? from : String(field.max));
  const isWhole = star !== undefined || (valueOf(field, from!) === field.min && valueOf(field, end!) === field.max);
  return { ok: true, item: { values: valuesOf(field, text), isWhole } };
}

const KEYS = {
  second: "second",
  minute: "minute",
  hour: "hour",
  "day of month": "dayOfMonth",
  month: "month",
  weekday: "dayOfWeek",
} as const;

function valuesOf(field: Field, text: string): number[] {
  // A whole expression is parsed for each item, which takes thirty microseconds: not for what is plain to see.
  const value = valueOf(field, text);
  if (value !== undefined) return [field.name === "weekday" ? value % 7 : value];
  const words = FIELDS.map((one) => (one === field ? text : one.name === "second" ? "0" : "*"));
  const { fields } = CronExpressionParser.parse(words.join(" "), { currentDate: 0, tz: "UTC" });
  return fields[KEYS[field.name]].values.map(Number);
}

function itemProblem(field: Field, text: string): string | undefined {
  const match = PLAIN.exec(text);
  if (match === null || /^H(\W|$)/.test(text)) return formProblem(field, text);
  const [, star, from, to, step] = match;
  if (star === "?" && !field.name.includes("day")) return "? stands for any day; write * here";
  return (
    (from === undefined ? undefined : valueProblem(field, from)) ??
    (to === undefined ? undefined : valueProblem(field, to)) ??
    (to === undefined ? undefined : rangeProblem(field, from!, to)) ??
    (step === undefined ? undefined : stepProblem(field, step))
  );
}

/** What is wrong with an item that has not even the form of one. */
function formProblem(field: Field, text: string): string {
  if (text === "") return "an item of the list is empty";
  if (text.startsWith("H")) return "H, a time made from a hash, is not read; write a time, and `jitter` to spread runs";
  if (field.name === "weekday" && text.includes("#"))
    return "a weekday with # has its number in the month, 1 to 5: 1#2 is the second Monday";
  return `expected a value, a range like ${rangeLike(field)}, *, or one of these with a step like */${stepLike(field)}`;
}

const rangeLike = ({ name, min, max }: Field): string =>
  name === "weekday" ? "1-5" : `${min + 1}-${Math.floor(max / 2)}`;
const stepLike = ({ max }: Field): number => (max > 30 ? 15 : 2);

function valueProblem(field: Field, text: string): string | undefined {
  const value = valueOf(field, text);
  const { name, min, max, names } = field;
  const plural = name === "day of month" ? "days" : `${name}s`;
  if (value !== undefined) return value < min || value > max ? `${plural} go from ${min} to ${max}` : undefined;
  if (names.length === 0) return `${plural} are ${min} to ${max}`;
  const given = text.slice(0, 12).toLowerCase();
  const near =
    names.find((one) => given.startsWith(one)) ??
    nearestName(
      given,
      names.filter((one) => one[0] === given[0]),
    );
  const hint = near === undefined ? "" : `; did you mean ${near.toUpperCase()}?`;
  return `${plural} are ${min} to ${max} or ${names[0]!.toUpperCase()} to ${names.at(-1)!.toUpperCase()}${hint}`;
}

/** The number of a value; names count in any case. */
export function valueOf(field: Field, text: string): number | undefined {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  const index = field.names.indexOf(text.toLowerCase());
  return index < 0 ? undefined : field.min + index;
}

function rangeProblem(field: Field, from: string, to: string): string | undefined {
  const [low, high] = [valueOf(field, from)!, valueOf(field, to)!];
  if (low <= high) return undefined;
  if (field.name === "weekday" && high === 0) return `the range runs backwards; write ${from}-7, where 7 is Sunday`;
  const last = field.name === "weekday" ? 6 : field.max;
  const [first, end] = /\d/.test(from) ? [field.min, last] : [field.names[0]!, field.names[last - field.min]!];
  return `the range runs backwards; write ${from}-${String(end).toUpperCase()},${String(first).toUpperCase()}-${to}`;
}

function stepProblem(field: Field, text: string): string | undefined {
  const step = Number(text);
  if (!/^\d{1,4}$/.test(text) || step === 0) return "a step is a whole number from 1";
  const last = field.name === "weekday" ? 6 : field.max;
  if (step <= last - field.min) return undefined;
  const unit = ({ second: "s", minute: "m", hour: "h" } as Record<string, string>)[field.name];
  const instead = unit === undefined ? "" : `; for every ${text} ${field.name}s write \`every: ${text}${unit}\``;
  return `a step of ${text} never comes round within ${field.min} to ${last}${instead}`;
}
