import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createAddressGuard } from "./http-address.ts";
import { bash } from "./bash.ts";
import type { ExecutorContext, Exit, Outcome, SpawnRequest } from "./executor.ts";

let workDir: string;
let log: string;

beforeEach(async () => {
  workDir = await mkdtemp(path.join(os.tmpdir(), "sluice-bash-"));
  log = "";
});
afterEach(() => rm(workDir, { recursive: true, force: true }));

function spawnHere({ file, args, cwd, env }: SpawnRequest): Promise<Exit> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd, env: env as NodeJS.ProcessEnv });
    child.stdout.on("data", (bytes: Buffer) => (log += bytes.toString()));
    child.stderr.on("data", (bytes: Buffer) => (log += bytes.toString()));
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
}

async function run(command: string, env: Record<string, string> = {}): Promise<Outcome> {
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
      conf: { "it's": "$(touch hacked)" },
      params: {},
      bundle: undefined,
    },
    env,
    inputs: async () => ({ outputs: { parent: { rows: 3 } }, xcoms: { parent: { file: "a.csv" } } }),
    signal: new AbortController().signal,
    timeoutMs: 60_000,
    workDir: own,
    network: createAddressGuard([]),
    log: () => undefined,
    spawn: spawnHere,
    call: () => Promise.reject(new Error("a shell command calls no function")),
  };
  return bash.run(context, { command, skipOn: [] });
}

describe("bash", () => {
  test("ends with the command: 0 is success, anything else fails with its code", async () => {
    expect(await run("true")).toEqual({ kind: "success", output: undefined, exitCode: 0 });
    expect(await run("exit 42")).toMatchObject({ kind: "failed", reason: "EXIT", exitCode: 42 });
    expect(await run("kill -TERM $$")).toMatchObject({ kind: "failed", reason: "SIGNAL" });
  });

  test("is strict: an unset variable, a failing step and a failing pipe end it", async () => {
    for (const command of ["echo $undefined_name", "false; true", "false | true"]) {
      expect(await run(command)).toMatchObject({ kind: "failed" });
    }
  });

  test("gets its values as environment and files, never as shell text", async () => {
    await run(
      'cat "$SLUICE_INPUTS" "$SLUICE_CONF"; echo "$SLUICE_DAG_ID $SLUICE_RUN_ID $SLUICE_TASK_ID $SLUICE_ATTEMPT $GREETING"; ls',
      {
        GREETING: "$(touch hacked)",
      },
    );
    expect(log).toContain('{"parent":{"rows":3}}{"it\'s":"$(touch hacked)"}');
    expect(log).toContain("d 1 t 2 $(touch hacked)");
    expect(log).not.toMatch(/^hacked$/m);
  });

  test("takes XComs from its parents and leaves its own, a file of JSON for each key", async () => {
    expect(await run(`cp "$SLUICE_XCOMS" "$SLUICE_XCOM_PUSH/seen"; echo 7 > "$SLUICE_XCOM_PUSH/rows"`)).toEqual({
      kind: "success",
      output: undefined,
      pushed: { seen: { parent: { file: "a.csv" } }, rows: 7 },
      exitCode: 0,
    });
    expect(await run(`echo x > "$SLUICE_XCOM_PUSH/rows"`)).toMatchObject({
      reason: "RESULT_UNSTORABLE",
      error: expect.stringContaining("$SLUICE_XCOM_PUSH/rows is not JSON"),
    });
    expect(await run(`echo 1 > "$SLUICE_XCOM_PUSH/a b"`)).toMatchObject({
      error: expect.stringContaining('"a b" is not the key of an XCom'),
    });
    expect(await run(`head -c 2000000 /dev/zero > "$SLUICE_XCOM_PUSH/big"`)).toMatchObject({
      reason: "RESULT_TOO_LARGE",
      error: "$SLUICE_XCOM_PUSH/big has 2000000 bytes; at most 1048576 are kept",
    });
  });

  test("takes what it finds in $SLUICE_OUTPUT as its output", async () => {
    expect(await run(`echo '{"a":[1,2]}' > "$SLUICE_OUTPUT"`)).toEqual({
      kind: "success",
      output: { a: [1, 2] },
      exitCode: 0,
    });
    expect(await run(`ln -s /etc/passwd "$SLUICE_OUTPUT"`)).toMatchObject({
      reason: "RESULT_UNSTORABLE",
      error: "$SLUICE_OUTPUT is not a plain file",
    });
    expect(await run(`echo 'not json' > "$SLUICE_OUTPUT"`)).toMatchObject({
      kind: "failed",
      reason: "RESULT_UNSTORABLE",
    });
    expect(await run(`head -c 2000000 /dev/zero > "$SLUICE_OUTPUT"`)).toMatchObject({
      kind: "failed",
      reason: "RESULT_TOO_LARGE",
    });
  });
});
