import { mkdtemp, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { allEnded } from "#lib/testing/processes.ts";
import type { CallResult } from "#lib/executors/executor.ts";
import { createBundleStore } from "./bundle-store.ts";
import { createFunctionPool, type FunctionPool } from "./pool.ts";

const FILES = {
  "code.ts": `
    import { dag, fn, notYet } from "sluice";
    import { double } from "./lib/double.ts";
    let calls = 0;
    export const add = ({ outputs }: { outputs: { n: number } }) => double(outputs.n) + 1;
    export const nothing = () => undefined;
    export const count = () => ++calls;
    const kept: Buffer[] = [];
    export const pid = () => process.pid;
    export const keeps = () => (kept.push(Buffer.alloc(40_000_000, 1)), process.pid);
    export const talk = async () => { console.log("one"); console.error("two"); process.stdout.write("three"); return "end"; };
    export const fails = () => { throw new TypeError("no such thing"); };
    export const exits = () => process.exit(9);
    export const hangs = () => { console.log("hanging"); for (;;); };
    export const chats = () => { process.send?.("ready"); process.send?.({ kind: "threw" }); return "said"; };
    export const early = () => { console.log("looked"); return notYet({ after: "30s", reason: "no file" }); };
    export const hasty = () => notYet({ after: "1ms", reason: "no file" });
    export const inside = () => ({ answer: notYet({ after: "30s", reason: "no file" }) });
    export const nan = () => ({ value: NaN });
    export const environment = () => Object.keys(process.env).filter((name) => /SLUICE|DATABASE|SECRET|TOKEN/.test(name));
    export default dag("inline").task("hello", fn(({ run }) => \`hello \${run.id}\`));
  `,
  "lib/double.ts": "export const double = (n: number): number => n * 2;",
};

let folder: string;
let pool: FunctionPool;
let worn: FunctionPool;
let reads = 0;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-functions-"));
  const store = createBundleStore(path.join(folder, "bundles"), async (hash) => {
    reads++;
    return hash === "known" ? FILES : undefined;
  });
  pool = createFunctionPool({
    dagsDir: folder,
    env: plainEnv(),
    folderOf: store.folderOf,
    guard: () => () => undefined,
  });
  worn = createFunctionPool({
    dagsDir: folder,
    env: plainEnv(),
    folderOf: store.folderOf,
    guard: () => () => undefined,
    wear: { maxCalls: 5, maxGrowthBytes: 60_000_000, lookEvery: 1 },
  });
});
afterAll(async () => {
  await Promise.all([pool.stop(), worn.stop()]);
  await rm(folder, { recursive: true, force: true });
});

async function call(
  name: string,
  signal = new AbortController().signal,
  onText = (_: string): void => undefined,
  by = pool,
): Promise<CallResult & { log: string }> {
  let log = "";
  const argument = { outputs: { n: 20 }, run: { id: "7" } };
  const result = await by.call(
    { bundle: "known", module: "code.ts", export: name, argument },
    signal,
    (stream, bytes) => {
      log += `${stream}:${bytes.toString()}`;
      onText(log);
    },
  );
  return { ...result, log };
}

describe("functions", () => {
  test("get their argument, may import their neighbours, and answer with a value", async () => {
    expect(await call("add")).toMatchObject({ ok: true, value: 41 });
    expect(await call("nothing")).toMatchObject({ ok: true, value: undefined });
    expect(await call("default.hello")).toMatchObject({ ok: true, value: "hello 7" });
  });

  test("say that it is too early, with when to look again; inside of an output that is a value like any other", async () => {
    expect(await call("early")).toEqual({
      ok: "not yet",
      afterMs: 30_000,
      reason: "no file",
      log: "stdout:looked\n",
    });
    expect(await call("hasty")).toMatchObject({ ok: false, error: expect.stringContaining("at least 1s") });
    expect(await call("inside")).toMatchObject({ ok: true, value: { answer: { afterMs: 30_000, reason: "no file" } } });
  });

  test("run in a process that stays warm", async () => {
    const first = await call("count");
    const second = await call("count");
    expect(second).toMatchObject({ value: (first as { value: number }).value + 1 });
    expect(reads).toBe(1);
    expect(await readdir(path.join(folder, "bundles"))).toEqual(["known"]);
  });

  test("run in a fresh process when theirs has had many calls, or has grown", async () => {
    const pidOf = async (name: string): Promise<number> => {
      const result = await call(name, undefined, undefined, worn);
      expect(result.ok).toBe(true);
      return (result as unknown as { value: number }).value;
    };
    const pids = [];
    for (let n = 0; n < 7; n++) pids.push(await pidOf("pid"));
    expect([new Set(pids.slice(0, 5)).size, new Set(pids.slice(5)).size, new Set(pids).size]).toEqual([1, 1, 2]);
    const [second] = pids.slice(-1);
    expect(await pidOf("keeps")).toBe(second);
    expect(await pidOf("keeps")).toBe(second);
    const third = await pidOf("pid");
    expect(third).not.toBe(second);
    expect(await allEnded([pids[0]!, second!])).toBe(true);
  });

  test("have their output as their log, in order and before the result", async () => {
    expect(await call("talk")).toEqual({ ok: true, value: "end", log: "stdout:one\nstderr:two\nstdout:three" });
  });

  test("that throw, exit or return what cannot be kept end as failed, and the next call is served", async () => {
    expect(await call("fails")).toMatchObject({
      ok: false,
      error: "TypeError: no such thing",
      log: expect.stringContaining("code.ts"),
    });
    expect(await call("exits")).toMatchObject({ ok: false, error: "the function's process ended with exit code 9" });
    expect(await call("nan")).toMatchObject({ ok: false, error: expect.stringContaining("NaN") });
    expect(await call("missing")).toMatchObject({
      ok: false,
      error: expect.stringContaining("has no function missing"),
    });
    expect(await call("add")).toMatchObject({ ok: true, value: 41 });
  });

  test("that send messages of their own harm nobody", async () => {
    expect(await call("chats")).toMatchObject({ ok: true, value: "said" });
  });

  test("that block their event loop are stopped all the same", async () => {
    const stop = new AbortController();
    const result = await call("hangs", stop.signal, (log) => {
      if (log.includes("hanging")) stop.abort();
    });
    expect(result).toMatchObject({ ok: false, error: "the function's process ended with SIGKILL" });
  });

  test("see no address or key of ours", async () => {
    expect(await call("environment")).toMatchObject({ ok: true, value: [] });
  });

  test("of an unknown bundle are refused", async () => {
    const wrong = pool.call(
      { bundle: "unknown", module: "x.ts", export: "x", argument: {} },
      new AbortController().signal,
      () => undefined,
    );
    await expect(wrong).rejects.toThrow("not in the database");
  });
});
