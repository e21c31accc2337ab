import { readFile } from "node:fs/promises";
import path from "node:path";
import { type FileProblem, formatProblem, snippetAt } from "#lib/domain/definition/problem.ts";
import { shownPath } from "./definition-files.ts";

/** Compiler-like lines for one mistake: where, what, and the line of the source it is about. */
export function problemText(file: string, problem: FileProblem, source: string | undefined): string {
  const { line, column } = problem;
  // The very first place stands for the file as a whole.
  const hasPlace = source !== undefined && (line > 1 || column > 1);
  const snippet = problem.snippet ?? (hasPlace ? snippetAt(source, line, column) : undefined);
  const message = `error: ${problem.message.replaceAll(/\n\s*/g, "\n    ")}`;
  return formatProblem({ file, line, column, message, ...(snippet === undefined ? {} : { snippet }) });
}

/** The text of every mistake in a file below `root`. */
export async function problemTexts(root: string, problems: readonly FileProblem[]): Promise<string[]> {
  return Promise.all(
    problems.map(async (problem) => {
      const source = await readFile(path.join(root, problem.file), "utf8").catch(() => undefined);
      return problemText(shownPath(root, problem.file), problem, source);
    }),
  );
}
