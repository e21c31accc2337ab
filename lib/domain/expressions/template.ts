/**
 * Texts with expressions in them: `report-${{ params.day }}.csv`. `$${{` stands for a `${{` that is meant literally.
 */

/** A place in a text, counted in UTF-16 units from its start, and what is wrong there. */
export type ExpressionProblem = { offset: number; message: string };

export type TemplatePart =
  | { kind: "text"; text: string }
  /** `offset` is where the expression's own text begins. */
  | { kind: "expression"; source: string; offset: number };

export type Template = { ok: true; parts: TemplatePart[] } | { ok: false; problems: ExpressionProblem[] };

export const MAX_SOURCE = 4_000;
const MAX_EXPRESSIONS = 100;

/** True for a text that holds, or is meant to hold, an expression: everything else may be used as it is. */
export function hasExpression(text: string): boolean {
  return text.includes("${{");
}

/** Splits a text. Never throws. */
export function parseTemplate(text: string): Template {
  const parts: TemplatePart[] = [];
  const problems: ExpressionProblem[] = [];
  let literal = "";
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf("${{", at);
    if (open < 0) break;
    if (open > at && text[open - 1] === "$") {
      literal += `${text.slice(at, open - 1)}\${{`;
      at = open + 3;
      continue;
    }
    const close = closingBraces(text, open + 3);
    if (close < 0) {
      problems.push({ offset: open, message: "this ${{ has no closing }}; write $${{ for the characters themselves" });
      return { ok: false, problems };
    }
    literal += text.slice(at, open);
    if (literal !== "") parts.push({ kind: "text", text: literal });
    literal = "";
    parts.push({ kind: "expression", source: text.slice(open + 3, close), offset: open + 3 });
    at = close + 2;
  }
  literal += text.slice(at);
  if (literal !== "") parts.push({ kind: "text", text: literal });
  const expressions = parts.filter((part) => part.kind === "expression");
  if (expressions.length > MAX_EXPRESSIONS)
    problems.push({
      offset: 0,
      message: `a text has at most ${MAX_EXPRESSIONS} expressions; this has ${expressions.length}`,
    });
  for (const { source, offset } of expressions) {
    if (source.length > MAX_SOURCE)
      problems.push({
        offset,
        message: `an expression has at most ${MAX_SOURCE} characters; this has ${source.length}`,
      });
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, parts };
}

/** Where the `}}` of an expression begins; one inside a string or closing a map does not count. -1 when there is none. */
function closingBraces(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const char = text[at]!;
    if (char === '"' || char === "'") at = endOfString(text, at);
    else if (char === "{") depth++;
    else if (char === "}" && depth > 0) depth--;
    else if (char === "}" && text[at + 1] === "}") return at;
  }
  return -1;
}

function endOfString(text: string, start: number): number {
  const quote = text[start]!;
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === quote) return at;
  }
  return text.length;
}
