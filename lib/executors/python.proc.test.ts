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
      intervalStart: "2026-01-01T00:00:00.000Z",
      intervalEnd: "2026-01-02T00:00:00.000Z",
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
    sourceOf: async (name) => `import os, sys\nprint("${name}", sys.prefix, os.environ.get("VIRTUAL_ENV"))`,
    log: () => undefined,
    spawn: (request) => spawner.run(request, signal, async (_, bytes) => void (log += bytes.toString())),
    contain: () => Promise.reject(new Error("no container")),
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

test("a program may ask sluice what the run is about", async () => {
  const code = `
import sluice
start, end = sluice.interval()
sluice.output([str(sluice.logical_date()), str(start), (end - start).total_seconds()])`;
  const day = "2026-01-01 00:00:00+00:00";
  expect(await run({ code })).toMatchObject({ kind: "success", output: [day, day, 86_400] });
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

test("what Python's loggers say arrives with its level, further lines indented", async () => {
  const code = `
import logging, sluice
logging.basicConfig(handlers=[sluice.handler], level=1)
logging.addLevelName(35, "NOTABLE")
log = logging.getLogger("a.b")
log.log(5, "trace")
log.debug("d")
log.info("i %s", 1)
log.log(35, "w")
log.critical("c")
logging.error("root")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("no\\nluck")
print(f"{sluice.logger.handlers == logging.getLogger().handlers}\\n", end="")
`;
  // One write for the line: between the two outputs there is no order.
  expect(await run({ code })).toMatchObject({ kind: "success" });
  const [before, trace] = log.split("ERROR a.b: no\n");
  expect(before!.split("\n").filter((line) => line !== "")).toEqual(
    expect.arrayContaining([
      "DEBUG a.b: trace",
      "DEBUG a.b: d",
      "INFO a.b: i 1",
      "WARNING a.b: w",
      "CRITICAL a.b: c",
      "ERROR root",
    ]),
  );
  expect(trace).toMatch(/^ {2}luck\n {2}Traceback[^]*\n {2}ZeroDivisionError: division by zero\n/);
});

test("a file of the DAG's version runs like code", async () => {
  expect(await run({ file: "jobs/load.py" })).toMatchObject({ kind: "success" });
  expect(log).toMatch(/^jobs\/load.py \/\S+ None\n$/);
});

test("a virtual environment is as if it were activated", async () => {
  const venv = path.join(folder, "venv");
  await run({ code: `import sys, venv; venv.create(${JSON.stringify(venv)}, symlinks=True)` });
  expect(await run({ file: "load.py", venv })).toMatchObject({ kind: "success" });
  expect(log).toBe(`load.py ${venv} ${venv}\n`);
  log = "";
  const code = "import os, shutil; print(shutil.which('python')); os.system('command -v bash')";
  expect(await run({ code, venv })).toMatchObject({ kind: "success" });
  expect(log).toMatch(new RegExp(`^${venv}/bin/python\n/.*/bash\n$`));
  expect(await run({ code, venv: "/no/venv" })).toMatchObject({
    reason: "SPAWN_ERROR",
    error: expect.stringContaining("/no/venv/bin/python"),
  });
});

test("a program finds the helper wherever it runs", async () => {
  expect(await run({ code: "import os, sluice; sluice.output(os.getcwd())", cwd: "/" })).toMatchObject({ output: "/" });
  expect(await run({ code: "import os; print(os.listdir())", cwd: "data" })).toMatchObject({ kind: "success" });
  expect(log).toBe("[]\n");
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
