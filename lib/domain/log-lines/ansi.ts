/**
 * What a terminal would act on and not show (ECMA-48): colours and cursor movements, with the parameters and the kind in
 * groups; titles and links; other strings; and what is a letter or two. No two of its loops can match the same
 * text, so it takes time in proportion to the text.
 */
export const ANSI =
  /\u001b\[([0-?]*)([ -/]*[@-~])|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[PX^_][^\u001b]*\u001b\\|\u001b[ -/]+[0-~]|\u001b[0-OQ-WYZ\\`-~]/g;

export function withoutAnsi(text: string): string {
  return text.includes("\u001b") ? text.replaceAll(ANSI, "") : text;
}

/** Where the last form of a line begins that returns to its beginning, as bars of progress do. */
export function lastFormStart(line: string): number {
  const end = contentEnd(line);
  return end === 0 ? 0 : line.lastIndexOf("\r", end - 1) + 1;
}

/** What a terminal would show in the end of such a line. */
export function lastForm(line: string): string {
  return line.slice(lastFormStart(line), contentEnd(line));
}

/** Returns at the very end are half of an end of line. */
function contentEnd(line: string): number {
  let end = line.length;
  while (end > 0 && line[end - 1] === "\r") end--;
  return end;
}
