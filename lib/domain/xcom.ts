import type { Json } from "./canonical.ts";
import { type StorableJson, storableJson } from "./output.ts";

/** The key under which a task's output is kept. */
export const RETURN_VALUE = "return_value";

/** A key is a file's name to a shell task and a member to an expression. */
const KEY = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const KEY_RULE = "a key is a letter and then up to 63 letters, digits, _ or -";
const MAX_PUSHED = 64;
/** Of all that a task leaves: it travels in one statement, with that of others. */
export const MAX_LEFT_BYTES = 16 * 1024 * 1024;

/** What the parents of a task have left: their outputs, and what else they pushed by key; each by task id. */
export type ParentXcoms = { outputs: Record<string, Json>; xcoms: Record<string, Record<string, Json>> };

export const NO_XCOMS: ParentXcoms = { outputs: {}, xcoms: {} };

/** What a task left by task id and key, its output among it, taken apart. */
export function parentXcoms(left: Record<string, Record<string, Json>>): ParentXcoms {
  const outputs: [string, Json][] = [];
  const xcoms: [string, Record<string, Json>][] = [];
  for (const [taskId, { [RETURN_VALUE]: output, ...pushed }] of Object.entries(left)) {
    if (output !== undefined) outputs.push([taskId, output]);
    if (Object.keys(pushed).length > 0) xcoms.push([taskId, pushed]);
  }
  return { outputs: Object.fromEntries(outputs), xcoms: Object.fromEntries(xcoms) };
}

/**
 * The value of a JSON text as the database returns it once it is stored: jsonb keeps the members of an object by the length
 * of their keys in bytes, then by these bytes (https://www.postgresql.org/docs/current/datatype-json.html says only
 * that their order is not kept).
 */
export function storedJson(json: string): Json {
  const root = [JSON.parse(json) as Json];
  // Not by recursion: the values are of any depth.
  const nodes: Node[] = [root];
  for (const node of nodes) {
    for (const [key, value] of Object.entries(node)) {
      if (value === null || typeof value !== "object") continue;
      const member = Array.isArray(value) ? value : inStoredOrder(value as Record<string, Json>);
      Object.assign(node, { [key]: member });
      nodes.push(member as Node);
    }
  }
  return root[0]!;
}

type Node = Json[] | Record<string, Json>;

function inStoredOrder(value: Record<string, Json>): Record<string, Json> {
  const members = Object.entries(value).map(([key, member]) => ({
    key: Buffer.from(key),
    entry: [key, member] as const,
  }));
  members.sort((a, b) => a.key.length - b.key.length || a.key.compare(b.key));
  return Object.fromEntries(members.map(({ entry }) => entry));
}

export type StorableXcoms =
  | { ok: true; output: string | undefined; pushed: Record<string, string> }
  | Extract<StorableJson, { ok: false }>;

/** The JSON texts of what a task leaves, or why one of them cannot be kept. An `undefined` that is pushed is none. */
export function storableXcoms(output: unknown, pushed: Readonly<Record<string, unknown>>): StorableXcoms {
  const unstorable = (error: string): StorableXcoms => ({ ok: false, reason: "RESULT_UNSTORABLE", error });
  const kept = storableJson(output);
  if (!kept.ok) return { ...kept, error: `the output cannot be kept: ${kept.error}` };
  const entries = Object.entries(pushed);
  if (entries.length > MAX_PUSHED)
    return unstorable(`${entries.length} XComs were pushed; at most ${MAX_PUSHED} of one task are kept`);
  const texts: [string, string][] = [];
  let bytes = Buffer.byteLength(kept.json ?? "");
  for (const [key, value] of entries) {
    const trouble = keyTrouble(key);
    if (trouble !== undefined) return unstorable(trouble);
    const text = storableJson(value);
    if (!text.ok) return { ...text, error: `the XCom "${key}" cannot be kept: ${text.error}` };
    if (text.json === undefined) continue;
    texts.push([key, text.json]);
    bytes += Buffer.byteLength(text.json);
  }
  if (bytes > MAX_LEFT_BYTES) {
    const error = `the output and the XComs have ${bytes} bytes together; at most ${MAX_LEFT_BYTES} are kept`;
    return { ok: false, reason: "RESULT_TOO_LARGE", error };
  }
  return { ok: true, output: kept.json, pushed: Object.fromEntries(texts) };
}

/** Why nothing can be pushed under this key, if that is so. */
export function keyTrouble(key: string): string | undefined {
  if (key === RETURN_VALUE) return `"${RETURN_VALUE}" is the task's output and cannot be pushed`;
  return KEY.test(key) ? undefined : `${JSON.stringify(key.slice(0, 80))} is not the key of an XCom; ${KEY_RULE}`;
}
