import { type Document, isMap, isNode, isScalar, isSeq, type Node, type YAMLMap } from "yaml";
import type { DataProblem } from "./issue-problems.ts";

/** Where in a file's text problems of its data are. */
export type Places = { offsetOf(problem: Pick<DataProblem, "path" | "key">): number };

type Entry = { key: Node; value: unknown };

/** The places of a document. A mapping's keys are listed at the first problem in it, and not searched for each. */
export function placesIn(document: Document.Parsed): Places {
  const listed = new Map<YAMLMap, Map<string, Entry>>();

  const entryOf = (map: YAMLMap, name: string): Entry | undefined => {
    const entries = listed.get(map) ?? entriesOf(map);
    listed.set(map, entries);
    return entries.get(name);
  };

  const childOf = (node: unknown, key: PropertyKey): unknown => {
    if (isMap(node)) return entryOf(node, String(key))?.value;
    return isSeq(node) ? node.get(key, true) : undefined;
  };

  return {
    offsetOf({ path, key }) {
      let offset = startOf(document.contents) ?? 0;
      let node: unknown = document.contents;
      for (const step of path) {
        node = childOf(node, step);
        // Of what is not there, the deepest that it would be in.
        offset = startOf(node) ?? offset;
      }
      if (key === undefined || !isMap(node)) return offset;
      return startOf(entryOf(node, key)?.key) ?? offset;
    },
  };
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

function entriesOf(map: YAMLMap): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const { key, value } of map.items) {
    if (isScalar(key) && !entries.has(String(key.value))) entries.set(String(key.value), { key, value });
  }
  return entries;
}
