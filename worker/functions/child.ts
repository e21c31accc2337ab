/**
 * A warm child process that calls DAG functions, one at a time, for one version of the code. It gets a clean
 * environment: no database address, no keys.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { pathToFileURL } from "node:url";
import { isDag } from "#lib/dsl/index.ts";
import { isNotYet } from "#lib/dsl/not-yet.ts";
import type { XcomAccess } from "#lib/dsl/types.ts";
import { keyTrouble, type ParentXcoms, RETURN_VALUE, storableXcoms } from "#lib/domain/xcom.ts";
import { openChildEnd } from "../frames/child-end.ts";
import { jsonTrouble } from "../frames/counted-json.ts";
import type { Frame } from "../frames/frames.ts";
import { fileUrls, type PluginPlaces } from "../plugins/places.ts";
import { ABORT, END, PIECE_BYTES, RESULT_LIMITS, STDERR, STDOUT, TO_CHILD, type ToFunctionChild } from "./protocol.ts";
import { registerDagHooks } from "./resolve-hook.ts";

type DagFunction = (context: Record<string, unknown>) => unknown;

const places = JSON.parse(process.argv[3]!) as PluginPlaces;
// This process is for one version of the code, in whose folder it was started. That is a copy of the DAGs folder without
// what lies outside; the plugins that its files import are where they are.
registerDagHooks(process.argv[2]!, {
  base: places.base,
  copy: { folder: process.cwd(), files: fileUrls(places) },
});

const parent = openChildEnd(TO_CHILD, take);

/** Which call is at work here: what it has left running writes under its number, also when the next one has begun. */
const callOf = new AsyncLocalStorage<number>();
let current = 0;
let stopping = new AbortController();

/** Console output travels the same pipe as the result, so that it is never behind it. */
for (const [stream, letter] of [
  ["stdout", STDOUT],
  ["stderr", STDERR],
] as const) {
  process[stream].write = (chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
    const encoding = typeof rest[0] === "string" ? (rest[0] as BufferEncoding) : undefined;
    const bytes = typeof chunk === "string" ? Buffer.from(chunk, encoding) : Buffer.from(chunk);
    const id = callOf.getStore() ?? current;
    for (let at = 0; at < bytes.length; at += PIECE_BYTES)
      parent.send(letter, id, bytes.subarray(at, at + PIECE_BYTES));
    const done = rest.find((value): value is () => void => typeof value === "function");
    if (done) queueMicrotask(done);
    return true;
  };
}

/** By file and name: a DAG of thousands of tasks is searched once for each. */
const known = new Map<string, DagFunction>();

async function find(file: string, name: string): Promise<DagFunction> {
  const key = `${file}\n${name}`;
  const found = known.get(key) ?? (await load(file, name));
  known.set(key, found);
  return found;
}

async function load(file: string, name: string): Promise<DagFunction> {
  const module = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  const [exported, task] = name.split(".") as [string, string | undefined];
  const value = module[exported];
  const found = task === undefined ? value : isDag(value) ? value.functionOf(task) : undefined;
  if (typeof found !== "function") throw new Error(`${file} has no function ${name}`);
  return found as DagFunction;
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** How a call ended, as JSON. What it leaves is put in as the texts that were checked. */
async function call({ file, export: name, argument }: ToFunctionChild, signal: AbortSignal): Promise<string> {
  try {
    const run = await find(file, name);
    const { outputs, xcoms, ...facts } = argument;
    const pushed: Record<string, unknown> = {};
    const xcom = xcomOf({ outputs, xcoms } as ParentXcoms, pushed);
    const result = await run({ ...facts, outputs, xcom, signal });
    if (isNotYet(result)) return JSON.stringify({ kind: "deferred", afterMs: result.afterMs, reason: result.reason });
    const left = storableXcoms(result, pushed);
    if (!left.ok) return JSON.stringify({ kind: "unstorable", reason: left.reason, error: left.error });
    const output = left.output === undefined ? "" : `,"output":${left.output}`;
    const entries = Object.entries(left.pushed).map(([key, json]) => `${JSON.stringify(key)}:${json}`);
    const end = `{"kind":"returned"${output},"pushed":{${entries.join(",")}}}`;
    const trouble = jsonTrouble(Buffer.from(end), RESULT_LIMITS);
    if (trouble === undefined) return end;
    return JSON.stringify({
      kind: "unstorable",
      reason: "RESULT_UNSTORABLE",
      error: `what it left cannot be kept: ${trouble}`,
    });
  } catch (error) {
    return JSON.stringify({ kind: "threw", error: describe(error).slice(0, PIECE_BYTES) });
  }
}

/** Not what every object has, like "constructor". */
const own = <T>(values: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(values, key) ? values[key] : undefined;

function xcomOf({ outputs, xcoms }: ParentXcoms, pushed: Record<string, unknown>): XcomAccess {
  return {
    push(key, value) {
      const trouble = keyTrouble(key);
      if (trouble !== undefined) throw new Error(trouble);
      pushed[key] = value;
    },
    pull: (taskId, key = RETURN_VALUE) =>
      key === RETURN_VALUE ? own(outputs, taskId) : own(own(xcoms, taskId) ?? {}, key),
  };
}

function take({ letter, id, payload }: Frame): void {
  if (letter === ABORT) return stopping.abort(new Error("the attempt must end"));
  current = id;
  stopping = new AbortController();
  const { signal } = stopping;
  const message = JSON.parse(payload.toString()) as ToFunctionChild;
  void callOf.run(id, () => call(message, signal)).then((end) => parent.send(END, id, Buffer.from(end)));
}

process.on("SIGTERM", () => stopping.abort(new Error("the attempt must end")));
process.on("SIGINT", () => undefined);
