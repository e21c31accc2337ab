import { readFileSync } from "node:fs";
import path from "node:path";
import { sourceFiles } from "./rooms.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const NAMED = /\bname: "([a-z][a-z0-9-]*)",\s*(?:\/\/[^\n]*\s*)*(?:text\b|values\b)/g;

/** The names of all statements that the sources prepare by name, with the file of each. */
export function namedStatements(): Map<string, string> {
  const product = sourceFiles(ROOT).filter((file) => /^(?:lib|worker|cli|app)\//.test(file) && !isOfTests(file));
  return new Map(
    product.flatMap((file) =>
      [...readFileSync(path.join(ROOT, file), "utf8").matchAll(NAMED)].map(([, name]) => [name!, file] as const),
    ),
  );
}

function isOfTests(file: string): boolean {
  return file.startsWith("lib/testing/") || file.includes("/testing/") || /\.test\.tsx?$/.test(file);
}
