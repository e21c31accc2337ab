/** What is checked before a parser sees a file: its time and stack grow faster than its input. */

import { textTrouble } from "../storable.ts";

/** Room for ten thousand tasks with a few options each. */
export const MAX_BYTES = 4 * 1024 * 1024;
export const MAX_ALIASES = 100;
const MAX_DEPTH = 64;
const MAX_NODES = 1_000_000;
/** Brackets in the text: shell commands may hold some that are never closed, so this is far from what is meant. */
const MAX_BRACKETS = 1_000;
/** Ends of values in the text. Ten thousand tasks have a tenth of it; the parser takes a second for that many. */
const MAX_MARKS = 500_000;
/** Commas with nothing between them: each is an error of its own, and those are slow. */
const MAX_EMPTY_ITEMS = 1_000;

/** Why the text is not even parsed, and where. */
export function textProblem(text: string): { offset: number; message: string } | undefined {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_BYTES) return { offset: 0, message: `the file has ${bytes} bytes; at most ${MAX_BYTES} are read` };
  // It is kept with the version as it is written.
  const trouble = textTrouble(text);
  if (trouble !== undefined) return { offset: Math.max(0, text.indexOf("\0")), message: `the file ${trouble}` };
  const dashes = new RegExp(`^[ ]*(?:[-?][ ]+){${MAX_DEPTH},}`, "m").exec(text);
  const offset = dashes?.index ?? unclosedBrackets(text);
  if (offset !== undefined) return { offset, message: tooDeep };
  if (count(text, /[,:\n]/g) > MAX_MARKS) return { offset: 0, message: `the file has more than ${MAX_MARKS} values` };
  return count(text, /,\s*(?=,)/g) > MAX_EMPTY_ITEMS
    ? { offset: text.search(/,\s*,/), message: `more than ${MAX_EMPTY_ITEMS} commas have nothing between them` }
    : undefined;
}

const tooDeep = `lists and mappings are nested more than ${MAX_DEPTH} deep`;

function count(text: string, pattern: RegExp): number {
  let found = 0;
  for (const _ of text.matchAll(pattern)) found++;
  return found;
}

function unclosedBrackets(text: string): number | undefined {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "[" || char === "{") depth++;
    else if ((char === "]" || char === "}") && depth > 0) depth--;
    if (depth > MAX_BRACKETS) return at;
  }
  return undefined;
}

/** Why parsed data is not looked at any further. */
export function dataProblem(data: unknown): string | undefined {
  let nodes = 0;
  let level: unknown[] = [data];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return tooDeep;
    nodes += level.length;
    if (nodes > MAX_NODES) return `the file has more than ${MAX_NODES} values`;
    level = level.flatMap((value): unknown[] =>
      typeof value === "object" && value !== null ? Object.values(value) : [],
    );
  }
  return undefined;
}
