/**
 * A program written over several lines of a template, without the indentation it has only because of where it stands.
 * A text that does not begin with a line break is left as it is.
 */
export function dedent(text: string): string {
  if (!/^[ \t]*\r?\n/.test(text)) return text;
  const lines = text
    .replace(/^[ \t]*\r?\n/, "")
    .trimEnd()
    .split("\n");
  const indents = lines.filter((line) => line.trim() !== "").map((line) => /^[ \t]*/.exec(line)![0].length);
  const common = Math.min(...indents, Infinity);
  return `${lines.map((line) => line.slice(Number.isFinite(common) ? common : 0)).join("\n")}\n`;
}
