import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Json } from "#lib/domain/canonical.ts";
import { PythonConfig } from "#lib/domain/model/task-types.ts";
import { plainEnv } from "#lib/env.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createSpawner, type Spawner } from "#worker/spawner/client.ts";
import type { ExecutorContext, Outcome } from "./executor.ts";
import { createAddressGuard } from "./http-address.ts";
import { python } from "./python.ts";

let folder: string;
let spawner: Spawner;
let attempts = 0;
let log: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-python-"));
  spawner = createSpawner({ env: plainEnv(), log: SILENT });
});
afterAll(async () => {
  await spawner.stop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  log = "";
});

function run(config: object, inputs: Record<string, Json> = {}): Promise<Outcome> {
  const { signal } = new AbortController();
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
    signal,
    timeoutMs: 60_000,
    workDir: path.join(folder, `a-${++attempts}`),
    network: createAddressGuard([]),
    log: () => undefined,
    spawn: (request) => spawner.run(request, signal, async (_, bytes) => void (log += bytes.toString())),
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
  expect(await run({ code, args: ["it's"] }, { extract: 21 })).toMatchObject({
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
  expect(await run({ code }, { extract: 21 })).toMatchObject({
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
