import { type Document, isCollection, isMap, isPair, isScalar } from "yaml";

/**
 * Offsets of keys that stand in their mapping already, in the order of the file. The parser's own check
 * (`uniqueKeys`) compares each key with all before it; this takes each key once.
 */
export function duplicateKeys(document: Document.Parsed): number[] {
  const found: number[] = [];
  // A list of what is left to do, and not a call for each level: a file may be nested as deep as it likes.
  const left: unknown[] = [document.contents];
  while (left.length > 0) {
    const node = left.pop();
    // One by one: a call has no room for a hundred thousand arguments.
    if (isMap(node)) for (const offset of repeated(node.items.map(({ key }) => key))) found.push(offset);
    if (isPair(node)) left.push(node.key, node.value);
    else if (isCollection(node)) for (const item of node.items) left.push(item);
  }
  return found.toSorted((a, b) => a - b);
}

function repeated(keys: readonly unknown[]): number[] {
  const seen = new Set<unknown>();
  return keys.flatMap((key) => {
    if (!isScalar(key)) return [];
    const isKnown = seen.has(key.value);
    seen.add(key.value);
    return isKnown && key.range != null ? [key.range[0]] : [];
  });
}
