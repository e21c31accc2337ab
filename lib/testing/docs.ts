/** The documents and parts of documents that come from code: `node lib/testing/docs.ts` writes them. */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { TRIGGER_RULES } from "../domain/model/task.ts";
import { countParents, decide, isDecidedBySuccesses } from "../domain/trigger-rules.ts";
import { ATTEMPT_MOVES, BACKFILL_MOVES, RUN_MOVES, TASK_MOVES } from "../domain/states.ts";
import { definitionReference } from "./definition-reference.ts";
import { ROOMS } from "./rooms-table.ts";

export const REFERENCE = path.resolve(import.meta.dirname, "../../docs/reference.md");
export const RULES_PAGE = path.resolve(import.meta.dirname, "../../docs/trigger-rules.md");
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

const PARENT_STATES = ["success", "failed", "upstream_failed", "skipped", "running"] as const;
const LETTERS = { success: "S", failed: "F", upstream_failed: "U", skipped: "K", running: "–" };
const VERDICTS = { ready: "starts", waiting: "·", skipped: "skipped", upstream_failed: "failed" };

/** What each trigger rule says of every pair of parents. */
function ruleTable(): string {
  const pairs = PARENT_STATES.flatMap((first, at) => PARENT_STATES.slice(at).map((second) => [first, second] as const));
  const head = ["rule", ...pairs.map(([first, second]) => `${LETTERS[first]}${LETTERS[second]}`)];
  const rows = TRIGGER_RULES.map((rule) => [
    `\`${rule}\`${isDecidedBySuccesses(rule) ? "" : " *"}`,
    ...pairs.map((pair) => VERDICTS[decide(rule, countParents(pair))]),
  ]);
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

type Parts = Record<string, () => string>;

const RULES_PARTS: Parts = { "all pairs": ruleTable };

const PARTS: Parts = {
  rooms: roomsTable,
  "run states": () => stateDrawing(RUN_MOVES, "queued"),
  "task states": () => stateDrawing(TASK_MOVES, "waiting"),
  "attempt states": () => stateDrawing(ATTEMPT_MOVES, "queued"),
  "backfill states": () => stateDrawing(BACKFILL_MOVES, "running"),
};

/** Returns docs/trigger-rules.md with its table as the code has it now. */
export function refreshedRules(text: string): string {
  return refreshed(text, RULES_PARTS);
}

/** The document with every generated part as the code has it now. */
export function refreshed(text: string, parts: Parts = PARTS): string {
  let result = text;
  for (const [name, make] of Object.entries(parts)) {
    const [start, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
    const [from, to] = [result.indexOf(start), result.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`the document has no part between ${start} and ${end}`);
    result = `${result.slice(0, from + start.length)}\n\n${make()}\n\n${result.slice(to)}`;
  }
  return result;
}

if (import.meta.main) {
  writeFileSync(DOCUMENT, refreshed(readFileSync(DOCUMENT, "utf8")));
  writeFileSync(RULES_PAGE, refreshedRules(readFileSync(RULES_PAGE, "utf8")));
  writeFileSync(REFERENCE, definitionReference());
}
