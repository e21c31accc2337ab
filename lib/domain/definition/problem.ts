/** One mistake in a definition file; `line` and `column` count from 1. */
export type FileProblem = {
  file: string;
  line: number;
  column: number;
  /** One sentence that says where, what is wrong, and what would be right. */
  message: string;
  /** The line in question with a mark under the place. */
  snippet?: string;
  /** What stands there. */
  found?: string;
  /** What may stand there. */
  expected?: string;
};

/** A place in a text, and what is wrong there. */
export type TextProblem = {
  offset: number;
  message: string;
  found?: string | undefined;
  expected?: string | undefined;
  /** The line holds what must not be repeated. */
  hidesLine?: boolean | undefined;
};

const WIDTH = 100;
/** How far around what is shown the beginning or end of a password is looked for. */
const REACH = 300;

/** The line of `text` that holds a place, cut to a readable width, and a mark below it. */
export function snippetAt(text: string, line: number, column: number): string {
  return snippetOf(lineOf(text, startOf(text, line)), line, column);
}

/** The same of that line alone. */
export function snippetOf(whole: string, line: number, column: number): string {
  const content = whole.replaceAll("\t", " ").replace(/\r$/, "");
  // A long line is shown around its place.
  const from = column <= WIDTH - 20 ? 0 : column - WIDTH / 2;
  const around = Math.max(0, from - REACH);
  const cut = withoutPasswords(content.slice(around, from + WIDTH + REACH)).slice(from - around, from - around + WIDTH);
  const shown = `${from > 0 ? "…" : ""}${cut}${content.length > from + WIDTH ? "…" : ""}`;
  const number = String(line);
  const mark = " ".repeat(Math.max(0, column - 1 - from + (from > 0 ? 1 : 0)));
  // Cut between the halves of a character, it is not text.
  return `${number} | ${shown.toWellFormed()}\n${" ".repeat(number.length)} | ${mark}^`;
}

/** Snippets are stored and shown. As many stars as characters: the mark below stays where it belongs. */
function withoutPasswords(part: string): string {
  return part.replaceAll(/(?<=:\/\/[^\s:/"']*:)[^\s"']+(?=@)/g, (password) => "*".repeat(password.length));
}

function startOf(text: string, line: number): number {
  let from = 0;
  for (let n = 1; n < line; n++) {
    const next = text.indexOf("\n", from);
    if (next < 0) return text.length;
    from = next + 1;
  }
  return from;
}

/** The line that begins at a place. */
export function lineOf(text: string, from: number): string {
  const end = text.indexOf("\n", from);
  return text.slice(from, end < 0 ? undefined : end);
}

/** The problem as a compiler would print it. */
export function formatProblem({ file, line, column, message, snippet }: FileProblem): string {
  const head = `${file}:${line}:${column}: ${message}`;
  return snippet === undefined ? head : `${head}\n${snippet.replaceAll(/^/gm, "    ")}`;
}
