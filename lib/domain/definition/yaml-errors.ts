import type { YAMLError, YAMLWarning } from "yaml";
import type { TextProblem } from "./problem.ts";

/** The library's codes in the words of somebody who writes a file, not a parser. */
const WORDS: Partial<Record<YAMLError["code"], string>> = {
  TAB_AS_INDENT: "a tab cannot indent YAML; use spaces",
  MULTIPLE_DOCS: "a file holds one DAG; put the part after --- into a file of its own",
  BAD_INDENT: "this line is not indented like the ones it belongs to",
  BLOCK_AS_IMPLICIT_KEY: "a mapping cannot begin here; is a line break or a quote missing?",
  MULTILINE_IMPLICIT_KEY: "a key must stand on one line; is a colon or a quote missing?",
  TAG_RESOLVE_FAILED: "tags like !name are not supported; write the value itself",
  BAD_ALIAS: "this alias (*name) has no anchor (&name) before it",
  BAD_SCALAR_START: "a text cannot begin with this character; put it into quotes",
  BAD_DQ_ESCAPE: "this backslash sequence is unknown; write two backslashes, or use single quotes",
  NON_STRING_KEY: "a key must be plain text",
};

/** What is said of a key that stands in its mapping already. */
export function duplicateKeyProblem(offset: number): TextProblem {
  return { offset, message: "this key stands in the same mapping already; keys are unique" };
}

/** Everything the parser objects to. What it only warns of would be read as something else than it says. */
export function yamlProblems(errors: readonly (YAMLError | YAMLWarning)[]): TextProblem[] {
  return errors.map((error) => ({ offset: error.pos[0], message: WORDS[error.code] ?? plainWords(error.message) }));
}

function plainWords(message: string): string {
  const [first] = message.split("\n", 1);
  return `not YAML: ${first!.charAt(0).toLowerCase()}${first!.slice(1)}`;
}
