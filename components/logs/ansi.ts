import { ANSI, lastForm } from "#lib/domain/log-lines/ansi.ts";

export type Span = { text: string; className: string };

type Style = { color: number | undefined; bold: boolean };
const PLAIN: Style = { color: undefined, bold: false };

/** What neither a terminal nor a page shows, and a page would show as a box; tabs stay. */
const CONTROLS = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;

/** A line of terminal output as coloured pieces; what moves a cursor or sets a title is dropped. */
export function ansiSpans(line: string): Span[] {
  const visible = lastForm(line);
  const spans: Span[] = [];
  let style = PLAIN;
  let from = 0;
  const push = (raw: string): void => {
    const text = raw.replaceAll(CONTROLS, "");
    if (text !== "") spans.push({ text, className: classOf(style) });
  };
  for (const match of visible.matchAll(ANSI)) {
    push(visible.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[2] === "m") style = restyle(style, match[1] ?? "");
  }
  push(visible.slice(from));
  return spans;
}

/** Private sequences (`>4;1`) end in an m too, and are no colours. */
function restyle(style: Style, parameters: string): Style {
  if (/[<=>?]/.test(parameters)) return style;
  const codes = parameters.split(";").map((code) => Number(code.split(":", 1)[0]));
  let next = style;
  for (let at = 0; at < codes.length; at++) {
    next = applyCode(next, codes[at]!);
    // A colour of a larger table takes the numbers behind it, unless they stand in the same field.
    if (codes[at] === 38 || codes[at] === 48) at += { 2: 4, 5: 2 }[codes[at + 1] ?? 0] ?? 0;
  }
  return next;
}

function applyCode(style: Style, code: number): Style {
  if (code === 0) return PLAIN;
  if (code === 1) return { ...style, bold: true };
  if (code === 22) return { ...style, bold: false };
  if (code === 38 || code === 39) return { ...style, color: undefined };
  if (code >= 30 && code <= 37) return { ...style, color: code - 30 };
  if (code >= 90 && code <= 97) return { ...style, color: code - 90 };
  return style;
}

function classOf({ color, bold }: Style): string {
  return [color === undefined ? "" : `ansi-${color}`, bold ? "font-semibold" : ""].filter(Boolean).join(" ");
}
