import { isLevelKey, levelOfNumber, levelOfWord, type LogLevel } from "./level-words.ts";

const JSON_TOKEN = /"((?:[^"\\]|\\.)*)"(\s*:)?|[{}[\]]|[^"{}[\]]+|"/gs;
const JSON_VALUE = /\s*(?:"([A-Za-z]{1,16})"|(\d{1,3})(?![\d.eE]))/y;

/** The level in a line that is a JSON object, or the beginning of one: the first member of its own that holds one. */
export function jsonLevel(text: string): LogLevel | undefined {
  let depth = 0;
  for (const match of text.matchAll(JSON_TOKEN)) {
    const [token, key, colon] = match;
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    const isMember = depth === 1 && key !== undefined && colon !== undefined;
    const level = isMember && isLevelKey(key) ? valueLevel(key, text, match.index + token.length) : undefined;
    if (level !== undefined) return level;
  }
  return undefined;
}

function valueLevel(key: string, text: string, at: number): LogLevel | undefined {
  JSON_VALUE.lastIndex = at;
  const [, word, number] = JSON_VALUE.exec(text) ?? [];
  if (word !== undefined) return levelOfWord(word);
  return number === undefined ? undefined : levelOfNumber(key, Number(number));
}

const HAS_FIELD = /(?:^|\s)(?:level|lvl|severity|levelname|loglevel|log_level|log\.level)=/i;
const FIELD = /\s*(?:([\w.@-]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))|"[^"]*"|\S+)/gy;

/** The level in a line of `key=value` fields. What stands in quotes is a value and holds no field. */
export function fieldLevel(text: string): LogLevel | undefined {
  if (!HAS_FIELD.test(text)) return undefined;
  for (const [, key, quoted, plain = ""] of text.matchAll(FIELD)) {
    if (key === undefined || !isLevelKey(key)) continue;
    const level = levelOfWord(quoted ?? plain.replace(/[,;]$/, ""));
    if (level !== undefined) return level;
  }
  return undefined;
}
