/** The documents and parts of documents that come from code: `node lib/testing/docs.ts` writes them. */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ATTEMPT_MOVES, BACKFILL_MOVES, RUN_MOVES, TASK_MOVES } from "../domain/states.ts";
import { definitionReference } from "./definition-reference.ts";
import { ROOMS } from "./rooms-table.ts";

export const REFERENCE = path.resolve(import.meta.dirname, "../../docs/reference.md");
export const DOCUMENT = path.resolve(import.meta.dirname, "../../ARCHITECTURE.md");

function stateDrawing(moves: Record<string, readonly string[]>, first: string): string {
  const lines = ["```mermaid", "stateDiagram-v2", `  [*] --> ${first}`];
  for (const [from, targets] of Object.entries(moves)) {
    for (const to of targets) lines.push(`  ${from} --> ${to}`);
    if (targets.length === 0) lines.push(`  ${from} --> [*]`);
  }
  return [...lines, "```"].join("\n");
}

function roomsTable(): string {
  const rows = ROOMS.filter((room) => !["tests", "generated", "config", "auth-route"].includes(room.name)).map(
    (room) => {
      const types = (room.types ?? []).map((name) => `${name} (types)`);
      const allowed = [...room.may.filter((name) => name !== "generated"), ...types];
      return `| ${room.name} | ${allowed.length === 0 ? "nothing of ours" : allowed.join(", ")} |`;
    },
  );
  return ["| room | may import |", "|---|---|", ...rows].join("\n");
}

const PARTS: Record<string, () => string> = {
  rooms: roomsTable,
  "run states": () => stateDrawing(RUN_MOVES, "queued"),
  "task states": () => stateDrawing(TASK_MOVES, "waiting"),
  "attempt states": () => stateDrawing(ATTEMPT_MOVES, "queued"),
  "backfill states": () => stateDrawing(BACKFILL_MOVES, "running"),
};

/** The document with every generated part as the code has it now. */
export function refreshed(text: string): string {
  let result = text;
  for (const [name, make] of Object.entries(PARTS)) {
    const [start, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
    const [from, to] = [result.indexOf(start), result.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`the document has no part between ${start} and ${end}`);
    result = `${result.slice(0, from + start.length)}\n\n${make()}\n\n${result.slice(to)}`;
  }
  return result;
}

if (import.meta.main) {
  writeFileSync(DOCUMENT, refreshed(readFileSync(DOCUMENT, "utf8")));
  writeFileSync(REFERENCE, definitionReference());
}
