export type Span = { text: string; className: string };

const SEQUENCE =
  /\u001b\[([0-9;?]*)([A-Za-z])|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[()][A-Z0-9]|\u001b[=>]/g;

type Style = { color: number | undefined; bold: boolean };
const PLAIN: Style = { color: undefined, bold: false };

/** A line of terminal output as coloured pieces; what moves a cursor or sets a title is dropped. */
export function ansiSpans(line: string): Span[] {
  const visible = line.replace(/\r$/, "").replace(/^.*\r/s, "");
  const spans: Span[] = [];
  let style = PLAIN;
  let from = 0;
  const push = (text: string): void => {
    if (text !== "") spans.push({ text, className: classOf(style) });
  };
  for (const match of visible.matchAll(SEQUENCE)) {
    push(visible.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[2] === "m") style = restyle(style, match[1] ?? "");
  }
  push(visible.slice(from));
  return spans;
}

function restyle(style: Style, parameters: string): Style {
  return parameters.split(";").map(Number).reduce(applyCode, style);
}

function applyCode(style: Style, code: number): Style {
  if (code === 0) return PLAIN;
  if (code === 1) return { ...style, bold: true };
  if (code === 22) return { ...style, bold: false };
  if (code === 39) return { ...style, color: undefined };
  if (code >= 30 && code <= 37) return { ...style, color: code - 30 };
  if (code >= 90 && code <= 97) return { ...style, color: code - 90 };
  return style;
}

function classOf({ color, bold }: Style): string {
  return [color === undefined ? "" : `ansi-${color}`, bold ? "font-semibold" : ""].filter(Boolean).join(" ");
}
