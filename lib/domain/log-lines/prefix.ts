import { levelOfWord, type LogLevel } from "./level-words.ts";

/** A time, a name, a process and a thread, each with what separates them, come before the level in the longest formats. */
const MAX_ITEMS = 12;

const WHOLE: readonly [RegExp, LogLevel][] = [
  // A letter for the level, as glog (`E0131 06:00:00`), Ruby (`E, [2026-…`) and apt (`E: …`) have it.
  [/^[EF](?:\d{4} \d\d:|, \[|: )/, "error"],
  [/^W(?:\d{4} \d\d:|, \[|: )/, "warn"],
  [/^I(?:\d{4} \d\d:|, \[)/, "info"],
  [/^D(?:\d{4} \d\d:|, \[)/, "debug"],
  [/^(?:Traceback \(most recent call last\)|Exception in thread |Caused by: |Uncaught )/, "error"],
];

/** The level that a line of text begins with, behind a time and names at most. In the middle of a sentence there is none. */
export function prefixLevel(text: string): LogLevel | undefined {
  const whole = WHOLE.find(([pattern]) => pattern.test(text));
  if (whole !== undefined) return whole[1];
  let at = 0;
  let isPlaced = false;
  for (let items = 0; items < MAX_ITEMS && at < text.length; items++) {
    const found = wordLevel(text, at, isPlaced) ?? bracketLevel(text, at);
    if (found !== undefined) return found;
    const item = itemAt(text, at, isPlaced);
    if (item === undefined) return undefined;
    isPlaced ||= item.places;
    at = endOf(/\s*/y, text, item.end) ?? text.length;
  }
  return undefined;
}

function endOf(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}

const WORD = /[A-Za-z_$][\w$.]*/y;

/**
 * A word that is the level: in capitals, before a colon, or, behind a time, in any form. Or the name of an exception,
 * before its message or alone.
 */
function wordLevel(text: string, at: number, isPlaced: boolean): LogLevel | undefined {
  WORD.lastIndex = at;
  const word = WORD.exec(text)?.[0];
  if (word === undefined) return undefined;
  const next = text[at + word.length];
  const isLast = next === undefined || /\s/.test(next);
  const isNamed = next === ":" && text[at + word.length + 1] !== ":";
  const level = levelOfWord(word);
  if (level !== undefined && (isNamed || isMarked(word, next, isLast, isPlaced))) return level;
  const isAlone = isLast && text.slice(at + word.length).trim() === "";
  return isNamed || isAlone ? exceptionLevel(word) : undefined;
}

function isMarked(word: string, next: string | undefined, isLast: boolean, isPlaced: boolean): boolean {
  const isCapital = word === word.toUpperCase();
  return (isLast && (isCapital || isPlaced)) || (next !== undefined && isCapital && ",!|[](".includes(next));
}

function exceptionLevel(name: string): LogLevel | undefined {
  if (/(?:Error|Exception)$/.test(name)) return "error";
  return name.endsWith("Warning") ? "warn" : undefined;
}

const BRACKETS = /[[({<]([^[\](){}<>]{0,100})[\])}>]/y;

/** `[warn]`, `(ERROR)`, `[12:00:00 ERROR main]`. */
function bracketLevel(text: string, at: number): LogLevel | undefined {
  BRACKETS.lastIndex = at;
  const words = BRACKETS.exec(text)?.[1]!.match(/[A-Za-z]+/g) ?? [];
  if (words.length === 1) return levelOfWord(words[0]);
  return words.filter((word) => word === word.toUpperCase()).flatMap((word) => levelOfWord(word) ?? [])[0];
}

type Item = { end: number; places: boolean };

const SEPARATOR = /\||[-*:]+(?=\s|$)/y;
const CALENDAR = /(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun|UTC|GMT|npm)(?=\s)/y;
const NAME = /[\w.$/@-]+(?=\s+[-|]\s)/y;
const TOKEN = /[^\s[\](){}<>|"']+/y;

/** What may stand before a level. After a time, a place in a file or a group in brackets a level may have any form. */
function itemAt(text: string, at: number, isPlaced: boolean): Item | undefined {
  const placing = endOf(BRACKETS, text, at) ?? endOf(CALENDAR, text, at);
  if (placing !== undefined) return { end: placing, places: true };
  const joining = endOf(SEPARATOR, text, at) ?? endOf(NAME, text, at);
  if (joining !== undefined) return { end: joining, places: false };
  const end = endOf(TOKEN, text, at);
  const token = text.slice(at, end ?? at);
  if (end === undefined || !/\d/.test(token)) return undefined;
  const isTime = /[:/.-]/.test(token);
  return isTime || (isPlaced && /^\d+$/.test(token)) ? { end, places: true } : undefined;
}
