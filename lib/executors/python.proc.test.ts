import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Json } from "#lib/domain/canonical.ts";
import { PythonConfig } from "#lib/domain/model/task-types.ts";
import type { ExecutorContext, Exit, Outcome, SpawnRequest } from "./executor.ts";
import { createAddressGuard } from "./http-address.ts";
import { python } from "./python.ts";

let workDir: string;
let log: string;

beforeEach(async () => {
  workDir = await mkdtemp(path.join(os.tmpdir(), "sluice-python-"));
  log = "";
});
afterEach(() => rm(workDir, { recursive: true, force: true }));

function spawnHere({ file, args, cwd, env }: SpawnRequest): Promise<Exit> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd, env: env as NodeJS.ProcessEnv });
    child.stdout.on("data", (bytes: Buffer) => (log += bytes.toString()));
    child.stderr.on("data", (bytes: Buffer) => (log += bytes.toString()));
    child.on("error", (error) => resolve({ code: null, signal: null, error: error.message }));
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
}

async function run(config: object, inputs: Record<string, Json> = {}): Promise<Outcome> {
  const own = await mkdtemp(path.join(workDir, "attempt-"));
  const context: ExecutorContext = {
    attempt: {
      attemptId: "a-1",
      number: 2,
      taskInstanceId: "1048576",
      taskId: "t",
      runId: "1",
      dagId: "d",
      logicalDate: "2026-01-01T00:00:00.000Z",
      conf: {},
      params: { limit: 10 },
      bundle: undefined,
    },
    env: { GREETING: "hello" },
    inputs: async () => ({ outputs: inputs, xcoms: { parent: { file: "a.csv" } } }),
    signal: new AbortController().signal,
    timeoutMs: 60_000,
    workDir: own,
    network: createAddressGuard([]),
    log: () => undefined,
    spawn: spawnHere,
    call: () => Promise.reject(new Error("a program calls no function of ours")),
  };
  return python.run(context, PythonConfig.parse(config));
}

test("a program reads its inputs, params, variables and arguments, and leaves its output", async () => {
  const code = `
import json, os, sys
read = lambda name: json.load(open(os.environ[name]))
print(os.environ["GREETING"], sys.argv[1])
json.dump({"rows": read("SLUICE_INPUTS")["extract"] * 2, "limit": read("SLUICE_PARAMS")["limit"]}, open(os.environ["SLUICE_OUTPUT"], "w"))
`;
  expect(await run({ code, args: ["it's"] }, { extract: 21 })).toEqual({
    kind: "success",
    exitCode: 0,
    output: { rows: 42, limit: 10 },
  });
  expect(log).toBe("hello it's\n");
});

test("a program may import sluice to read and to leave values, and to log", async () => {
  const code = `
import sluice
sluice.logger.warning("careful")
sluice.push("file", sluice.pull("parent", "file").upper())
sluice.push("none", sluice.pull("parent", "nothing", default=5))
sluice.output(sluice.pull("extract") + sluice.params()["limit"])
`;
  expect(await run({ code }, { extract: 21 })).toEqual({
    kind: "success",
    exitCode: 0,
    output: 31,
    pushed: { file: "A.CSV", none: 5 },
  });
  expect(log).toBe("WARNING careful\n");
  expect(await run({ code: 'import sluice; sluice.push("../x", 1)' })).toMatchObject({ kind: "failed", exitCode: 1 });
  expect(await run({ code: 'import sluice; sluice.output(float("nan"))' })).toMatchObject({ kind: "failed" });
});

test("its exit code is the verdict, and a traceback shows the line", async () => {
  expect(await run({ code: "raise SystemExit(3)" })).toMatchObject({ kind: "failed", reason: "EXIT", exitCode: 3 });
  expect(await run({ code: "raise SystemExit(99)", skipOn: [99] })).toMatchObject({ kind: "skipped", exitCode: 99 });
  expect(await run({ code: "x = 1\nraise ValueError('no')" })).toMatchObject({ kind: "failed", exitCode: 1 });
  expect(log).toContain('task.py", line 2');
  expect(await run({ code: "1", interpreter: "/nowhere/python" })).toMatchObject({
    kind: "failed",
    reason: "SPAWN_ERROR",
  });
});
