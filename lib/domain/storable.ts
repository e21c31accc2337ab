/**
 * What can be kept: Postgres' text and jsonb have no NUL character and no half of a surrogate pair. The one rule for definitions,
 * requests and outputs.
 */

/** Why a text cannot be kept, as the end of a sentence about it ("it …"). */
export function textTrouble(text: string): string | undefined {
  if (text.includes("\0")) return "holds a NUL character, which the database cannot store";
  return text.isWellFormed() ? undefined : "holds half of a surrogate pair, which is not Unicode text";
}

/** The text with a mark in place of what cannot be kept: for what is only shown. */
export function storableText(text: string): string {
  return text.replaceAll("\0", "\uFFFD").toWellFormed();
}

export type StorableProblem = { path: PropertyKey[]; message: string };

type Waiting = { value: unknown; path: Path };

/** The first texts in plain data that cannot be kept, keys among them. Deep data costs no stack. */
export function storableProblems(data: unknown, most = 10): StorableProblem[] {
  const problems: StorableProblem[] = [];
  const waiting: Waiting[] = [{ value: data, path: undefined }];
  for (let next = waiting.pop(); next !== undefined && problems.length < most; next = waiting.pop()) {
    const { value, path } = next;
    if (typeof value === "string") {
      const trouble = textTrouble(value);
      if (trouble !== undefined) problems.push({ path: keysOf(path), message: trouble });
    } else if (Array.isArray(value)) {
      // From the end: the last that waits is looked at first.
      for (let at = value.length - 1; at >= 0; at--) wait(waiting, value[at], at, path);
    } else if (typeof value === "object" && value !== null) {
      for (const [key, member] of Object.entries(value).reverse()) {
        const trouble = textTrouble(key);
        if (trouble !== undefined)
          problems.push({ path: keysOf(path), message: `the key "${storableText(key).slice(0, 64)}" ${trouble}` });
        wait(waiting, member, key, path);
      }
    }
  }
  return problems.slice(0, most);
}

/** Numbers and their like can always be kept. */
function wait(waiting: Waiting[], value: unknown, key: PropertyKey, of: Path): void {
  if (typeof value === "string" || typeof value === "object") waiting.push({ value, path: { key, of } });
}

/** Shared with the paths of siblings: most are never asked for. */
type Path = { key: PropertyKey; of: Path } | undefined;

function keysOf(path: Path): PropertyKey[] {
  const keys: PropertyKey[] = [];
  for (let at = path; at !== undefined; at = at.of) keys.unshift(at.key);
  return keys;
}
