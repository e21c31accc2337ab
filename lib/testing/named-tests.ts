import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

const ROOT = path.resolve(import.meta.dirname, "../..");

/** A test by its file, from the root of the repository, and its title as the file has it. */
export type NamedTest = readonly [file: string, title: string];

/** Those of them that are not there: a test that was renamed or removed takes what it proves with it. */
export function missingTests(named: readonly NamedTest[]): string[] {
  return named.filter(([file, title]) => !hasTest(file, title)).map(([file, title]) => `${file}: ${title}`);
}

function hasTest(file: string, title: string): boolean {
  if (!existsSync(path.join(ROOT, file))) return false;
  const text = readFileSync(path.join(ROOT, file), "utf8");
  // The first argument of a call, on its line or on one of its own.
  return [`(${JSON.stringify(title)}, `, `\n${JSON.stringify(title)},\n`, `(\`${title}\`, `].some((call) =>
    text.replaceAll(/\n +/g, "\n").includes(call),
  );
}
