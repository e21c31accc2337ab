import { lastForm, withoutAnsi } from "./ansi.ts";
import { fieldLevel, jsonLevel } from "./fields.ts";
import { LOG_LEVELS, type LogLevel } from "./level-words.ts";
import { prefixLevel } from "./prefix.ts";

/** What is looked at of a line, in characters: a line may be as long as the whole log. */
export const HEAD_LENGTH = 4_096;

/** What a line counts as that says nothing of its level. */
const UNSAID: LogLevel = "info";

/** The level that a line of a program's output says it has. Which stream it came by says nothing. */
export function levelOf(line: string): LogLevel | undefined {
  const text = headOf(line).trimStart();
  if (text.startsWith("{")) return jsonLevel(text);
  return prefixLevel(text) ?? fieldLevel(text);
}

/**
 * The level of a line below one of level `above`: its own, or the same when it goes on with it, as the lines of a stack
 * trace do.
 */
export function levelBelow(above: LogLevel | undefined, line: string): LogLevel | undefined {
  return levelOf(line) ?? (/^(?:\s+\S|[})\]])/.test(headOf(line)) ? above : undefined);
}

/** True for a line at least as grave as `least`. */
export function isAtLeast(level: LogLevel | undefined, least: LogLevel): boolean {
  return LOG_LEVELS.indexOf(level ?? UNSAID) <= LOG_LEVELS.indexOf(least);
}

function headOf(line: string): string {
  return lastForm(withoutAnsi(line.slice(0, HEAD_LENGTH))).replace(/^\uFEFF/, "");
}
