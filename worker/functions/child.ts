/**
 * A warm child process that calls DAG functions, one at a time, for one version of the code. It gets a clean
 * environment: no database address, no keys.
 */
import { pathToFileURL } from "node:url";
import { isDag } from "#lib/dsl/index.ts";
import { isNotYet } from "#lib/dsl/not-yet.ts";
import type { XcomAccess } from "#lib/dsl/types.ts";
import { keyTrouble, type ParentXcoms, RETURN_VALUE, storableXcoms } from "#lib/domain/xcom.ts";
import { fileUrls, type PluginPlaces } from "../plugins/places.ts";
import type { FromFunctionChild, ToFunctionChild } from "./protocol.ts";
import { registerDagHooks } from "./resolve-hook.ts";

type DagFunction = (context: Record<string, unknown>) => unknown;

const places = JSON.parse(process.argv[3]!) as PluginPlaces;
// This process is for one version of the code, in whose folder it was started. That is a copy of the DAGs folder without
// what lies outside; the plugins that its files import are where they are.
registerDagHooks(process.argv[2]!, {
  base: places.base,
  copy: { folder: process.cwd(), files: fileUrls(places) },
});

function send(message: FromFunctionChild): void {
  if (process.connected) process.send?.(message);
}

/** Console output travels the same channel as the result, so that it is never behind it. */
for (const stream of ["stdout", "stderr"] as const) {
  process[stream].write = (chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
    send({ kind: "log", stream, bytes: Buffer.from(chunk as string) });
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

async function call({ file, export: name, argument }: ToFunctionChild): Promise<FromFunctionChild> {
  try {
    const run = await find(file, name);
    const { outputs, xcoms, ...facts } = argument;
    const pushed: Record<string, unknown> = {};
    const xcom = xcomOf({ outputs, xcoms } as ParentXcoms, pushed);
    const answer = await run({ ...facts, outputs, xcom, signal: stopping.signal });
    if (isNotYet(answer)) return { kind: "deferred", afterMs: answer.afterMs, reason: answer.reason };
    const left = storableXcoms(answer, pushed);
    if (!left.ok) return { kind: "unstorable", reason: left.reason, error: left.error };
    return { kind: "returned", json: left.output, pushed: left.pushed };
  } catch (error) {
    return { kind: "threw", error: describe(error) };
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

const stopping = new AbortController();
process.on("message", (message: ToFunctionChild) => void call(message).then(send));
process.on("SIGTERM", () => stopping.abort(new Error("the attempt must end")));
process.on("SIGINT", () => undefined);
process.on("disconnect", () => process.exit(0));
