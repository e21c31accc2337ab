import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { allEnded } from "#lib/testing/processes.ts";
import type { CallResult, FunctionCall } from "#lib/executors/executor.ts";
import { ownPlace } from "../guests/place.ts";
import { createBundleStore } from "./bundle-store.ts";
import { createFunctionPool, type FunctionPool } from "./pool.ts";

const FILES = {
  "code.ts": `
    import { spawn } from "node:child_process";
    import { writeFileSync, writeSync } from "node:fs";
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
    export const channel = () => ({ send: typeof process.send, connected: process.connected ?? false, channel: typeof process.channel });
    const frame = (letter: string, id: number, text: string, length = Buffer.byteLength(text)) => {
      const head = Buffer.alloc(9);
      head.writeUInt32BE(5 + length, 0);
      head.write(letter, 4);
      head.writeUInt32BE(id, 5);
      return Buffer.concat([head, Buffer.from(text)]);
    };
    const rest = () => new Promise((done) => setTimeout(done, 60_000));
    export const garbage = () => (console.log("before"), writeSync(4, "NODE_HANDLE_ACK and more"), rest());
    export const empty = () => (writeSync(4, frame("O", 1, "")), rest());
    export const leaves = () => {
      spawn("sleep", ["600"], { detached: true, stdio: ["ignore", "ignore", "ignore", 3, 4] });
      process.exit(0);
    };
    export const starts = () => {
      const { pid } = spawn("/usr/bin/setsid", ["/bin/sleep", "600"], { detached: true, stdio: "ignore", env: {} });
      return [process.pid, pid];
    };
    export const postpones = ({ conf }: { conf: { file: string } }) =>
      (setTimeout(() => writeFileSync(conf.file, "late"), 400), process.pid);
    export const prints = () => new Promise((done) => spawn("echo", ["hello"], { stdio: "inherit" }).once("exit", done));
    export const wide = () => Object.fromEntries(Array.from({ length: 100_001 }, (_, n) => [n, 0]));
    export const huge = () => (writeSync(4, frame("R", 1, "", 2 ** 32 - 6)), rest());
    export const forged = ({ conf }: { conf: { text: string } }) => (writeSync(4, frame("R", 1, conf.text)), rest());
    export const twice = () => (writeSync(4, frame("R", 2, '{"kind":"returned","output":"first","pushed":{}}')), new Promise((done) => setTimeout(done, 50)));
    export const later = () => (setTimeout(() => console.log("too late"), 50), "said");
    export const waits = async () => (await new Promise((done) => setTimeout(done, 200)), console.log("mine"), "waited");
    export const floods = () => { for (let n = 0; n < 400; n++) process.stdout.write("x".repeat(1_000_000)); return "flooded"; };
    export const last = () => (process.stdout.write("x".repeat(300_000)), process.exit(9));
    export const polite = ({ signal }: { signal: AbortSignal }) =>
      new Promise((done) => (console.log("waiting"), signal.addEventListener("abort", () => done((console.log("stopping"), "half")))));
    export const early = () => { console.log("looked"); return notYet({ after: "30s", reason: "no file" }); };
    export const hasty = () => notYet({ after: "1ms", reason: "no file" });
    export const inside = () => ({ answer: notYet({ after: "30s", reason: "no file" }) });
    export const nan = () => ({ value: NaN });
    export const environment = () => Object.keys(process.env).filter((name) => /SLUICE|DATABASE|SECRET|TOKEN/.test(name));
    export default dag("inline").task("hello", fn(({ run }) => \`hello \${run.id}\`));
  `,
  "lib/double.ts": "export const double = (n: number): number => n * 2;",
};

/** Of an object that a parser takes seconds for. */
const MEMBERS = Array.from({ length: 200_000 }, (_, n) => `"${n}":0`).join();

let folder: string;
let pool: FunctionPool;
let worn: FunctionPool;
/** Of which each test's calls have a process that no other test has used. */
let fresh: FunctionPool;
let options: Parameters<typeof createFunctionPool>[0];
let reads = 0;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-functions-"));
  const store = createBundleStore(path.join(folder, "bundles"), async (hash) => {
    reads++;
    return hash === "known" ? FILES : undefined;
  });
  options = { dagsDir: folder, env: plainEnv(), folderOf: store.folderOf, place: ownPlace(folder) };
  pool = createFunctionPool(options);
  worn = createFunctionPool({ ...options, wear: { maxCalls: 5, maxGrowthBytes: 60_000_000, lookEvery: 1 } });
});
beforeEach(() => {
  fresh = createFunctionPool(options);
});
afterEach(() => fresh.stop());
afterAll(async () => {
  await Promise.all([pool.stop(), worn.stop()]);
  await rm(folder, { recursive: true, force: true });
});

/** The kernel tells its parent only. */
async function untilStopped(pid: number): Promise<void> {
  while (!/^State:\s+T/m.test(await readFile(`/proc/${pid}/status`, "utf8"))) await delay(10);
}

async function call(
  name: string,
  signal = new AbortController().signal,
  onText = (_: string): void => undefined,
  by = pool,
  conf: object = {},
): Promise<CallResult & { log: string }> {
  let log = "";
  const argument = { outputs: { n: 20 }, run: { id: "7" }, conf } as FunctionCall["argument"];
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

  test("have no channel of Node's to this process", async () => {
    expect(await call("channel")).toMatchObject({
      value: { send: "undefined", connected: false, channel: "undefined" },
    });
  });

  test.each([
    ["garbage", undefined, /unknown letter/],
    ["huge", undefined, /4294967290 bytes/],
    ["forged", "[1", /JSON/],
    ["forged", '{"kind":"returned","pushed":[]}', /how a call ended/],
    ["forged", `{"kind":"returned","pushed":{${MEMBERS}}}`, /more than 100000 members/],
    ["empty", undefined, /nothing in them/],
    ["forged", `{"kind":"returned","pushed":{},"output":"${"x".repeat(17 * 1024 * 1024)}"}`, /bytes; it may have/],
  ])("that write into the pipe themselves end their own process: %s %.40s", async (name, text, why) => {
    const before = process.memoryUsage().rss;
    const pid = (await call("pid")) as { value?: unknown };
    expect(await call(name, undefined, undefined, fresh, { text })).toMatchObject({
      ok: false,
      error: expect.stringMatching(why),
      log: name === "garbage" ? "stdout:before\n" : "",
    });
    // Theirs alone: what was warm for others still is.
    expect(await call("pid")).toMatchObject(pid);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  });

  test("leave no descriptor behind when what they started keeps their pipes", async () => {
    const open = async () => (await readdir("/proc/self/fd")).length;
    await call("leaves", undefined, undefined, fresh);
    const before = await open();
    for (let n = 0; n < 4; n++)
      expect(await call("leaves", undefined, undefined, fresh)).toMatchObject({
        ok: false,
        error: expect.stringMatching(/exit code 0/),
      });
    expect(await open()).toBeLessThanOrEqual(before);
  });

  test("have what they start ended with their call, and not seen by the next one", async () => {
    const { value } = (await call("starts", undefined, undefined, fresh)) as { value?: unknown };
    const [pid, started] = value as [number, number];
    expect(await allEnded([pid, started])).toBe(true);
    expect(await call("pid", undefined, undefined, fresh)).not.toMatchObject({ value: pid });
    // One that has ended by itself costs nothing.
    expect(await call("prints", undefined, undefined, fresh)).toMatchObject({ ok: true, log: "stdout:hello\n" });
  });

  test("do nothing while no call is at work, and go on with the next one", async () => {
    const file = path.join(folder, "late");
    const { value: pid } = (await call("postpones", undefined, undefined, fresh, { file })) as { value?: unknown };
    await untilStopped(Number(pid));
    await delay(500);
    expect(await readdir(folder)).not.toContain("late");
    expect(await call("waits", undefined, undefined, fresh)).toMatchObject({ value: "waited", log: "stdout:mine\n" });
    expect(await readdir(folder)).toContain("late");
    expect(await call("pid", undefined, undefined, fresh)).toMatchObject({ value: pid });
  });

  test("that leave an object of more members than a parser likes are told so", async () => {
    expect(await call("wide")).toMatchObject({
      ok: false,
      reason: "RESULT_UNSTORABLE",
      error: expect.stringMatching(/100000 members/),
    });
  });

  test("that end their call twice do no harm to the next one, and have no other", async () => {
    const { value: pid } = (await call("pid", undefined, undefined, fresh)) as { value?: unknown };
    expect(await call("twice", undefined, undefined, fresh)).toMatchObject({ ok: true, value: "first" });
    expect(await call("waits", undefined, undefined, fresh)).toMatchObject({ ok: true, value: "waited" });
    expect((await call("pid", undefined, undefined, fresh)) as { value?: unknown }).not.toMatchObject({ value: pid });
  });

  test("that still write after their call has ended are in the log of no other call", async () => {
    expect(await call("later")).toMatchObject({ value: "said" });
    expect(await call("waits")).toMatchObject({ value: "waited", log: "stdout:mine\n" });
  });

  test("wait with more output while what they wrote is being kept", async () => {
    const opened = Promise.withResolvers<void>();
    let bytes = 0;
    const first = Promise.withResolvers<void>();
    const flooding = fresh.call(
      { bundle: "known", module: "code.ts", export: "floods", argument: {} },
      new AbortController().signal,
      (_, { length }) => {
        bytes += length;
        first.resolve();
        return opened.promise;
      },
    );
    await first.promise;
    // Nothing tells that nothing comes: a flood of 400 MB would be here in this time.
    await delay(500);
    expect(bytes).toBeLessThanOrEqual(64 * 1024);
    opened.resolve();
    expect(await flooding).toMatchObject({ value: "flooded" });
    expect(bytes).toBe(400_000_000);
  });

  test("have all of their output in the log, also when they end the process behind it", async () => {
    const result = await call("last");
    expect(result).toMatchObject({ ok: false, error: "the function's process ended with exit code 9" });
    expect(result.log.replaceAll("stdout:", "")).toHaveLength(300_000);
  });

  test("see their signal abort, and what they return then does not count", async () => {
    const stop = new AbortController();
    const result = await call("polite", stop.signal, (log) => {
      if (log.includes("waiting")) stop.abort();
    });
    expect(result).toMatchObject({
      ok: false,
      error: "the attempt was ended while the function ran",
      log: expect.stringContaining("stopping"),
    });
    // Nothing was killed for it.
    expect(await call("add", AbortSignal.abort())).toMatchObject({ ok: false });
    expect(await call("add")).toMatchObject({ ok: true, value: 41 });
  });

  test("that block their event loop are stopped all the same", async () => {
    const stop = new AbortController();
    const result = await call("hangs", stop.signal, (log) => {
      if (log.includes("hanging")) stop.abort();
    });
    expect(result).toMatchObject({ ok: false, error: "the function's process ended with SIGKILL" });
  });

  test("see no address or key of ours", async () => {
    expect(await call("environment")).toMatchObject({ ok: true, value: ["SLUICE_WORK_DIR"] });
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
