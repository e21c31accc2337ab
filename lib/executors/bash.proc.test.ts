import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createAddressGuard } from "./http-address.ts";
import { BashConfig } from "#lib/domain/model/task-types.ts";
import { bash } from "./bash.ts";
import { plainEnv } from "#lib/env.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createSpawner, type Spawner } from "#worker/spawner/client.ts";
import type { ExecutorContext, Outcome } from "./executor.ts";

let folder: string;
let spawner: Spawner;
let attempts = 0;
let log: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-bash-"));
  spawner = createSpawner({ env: plainEnv(), log: SILENT });
});
afterAll(async () => {
  await spawner.stop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  log = "";
});

function run(written: string | object, env: Record<string, string> = {}): Promise<Outcome> {
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
      conf: { "it's": "$(touch hacked)" },
      params: {},
      bundle: undefined,
    },
    env,
    inputs: async () => ({ outputs: { parent: { rows: 3 } }, xcoms: { parent: { file: "a.csv" } } }),
    signal,
    timeoutMs: 60_000,
    workDir: path.join(folder, `a-${++attempts}`),
    network: createAddressGuard([]),
    sourceOf: async (name) => `echo "${name}: $# $1"; echo "$unset_name"; false; echo end`,
    log: () => undefined,
    spawn: (request) => spawner.run(request, signal, async (_, bytes) => void (log += bytes.toString())),
    contain: () => Promise.reject(new Error("no container")),
    call: () => Promise.reject(new Error("a shell command calls no function")),
  };
  return bash.run(context, BashConfig.parse(typeof written === "string" ? { command: written } : written));
}

describe("bash", () => {
  test("ends with the command: 0 is success, anything else fails with its code", async () => {
    expect(await run("true")).toMatchObject({ kind: "success", output: undefined, exitCode: 0 });
    expect(await run("exit 42")).toMatchObject({ kind: "failed", reason: "EXIT", exitCode: 42 });
    expect(await run("kill -TERM $$")).toMatchObject({ kind: "failed", reason: "SIGNAL" });
  });

  test("is strict: an unset variable, a failing step and a failing pipe end it", async () => {
    for (const command of ["echo $undefined_name", "false; true", "false | true"]) {
      expect(await run(command)).toMatchObject({ kind: "failed" });
    }
  });

  test("is not strict when it says so", async () => {
    const command = 'echo "$undefined_name"; false; false | true; echo end';
    expect(await run({ command, strict: false })).toMatchObject({ kind: "success" });
    expect(log).toBe("\nend\n");
  });

  test("runs a script of the DAG's version with its arguments, strictly or not", async () => {
    const script = { script: "jobs/load.sh", args: ["it's $HOME", "-x"] };
    expect(await run(script)).toMatchObject({ error: "the script ended with exit code 1" });
    // Between the two streams there is no order.
    expect(log).toContain("jobs/load.sh: 2 it's $HOME\n");
    expect(log).toMatch(/\/script\.sh: line 1: unset_name: unbound variable\n/);
    log = "";
    expect(await run({ ...script, strict: false })).toMatchObject({ kind: "success" });
    expect(log).toBe("jobs/load.sh: 2 it's $HOME\n\nend\n");
  });

  test("runs in the folder that it names, and finds its files from there", async () => {
    const left = 'pwd; echo 1 > "$SLUICE_OUTPUT"; cat "$SLUICE_CONF" > /dev/null';
    expect(await run({ command: left, cwd: "/" })).toMatchObject({ kind: "success", output: 1 });
    expect(await run({ command: left, cwd: "a/./b" })).toMatchObject({ kind: "success", output: 1 });
    expect(log).toMatch(/^\/\n.*\/a-\d+\/a\/b\n$/);
    expect(await run({ command: left, cwd: "/no/such/place" })).toMatchObject({
      reason: "SPAWN_ERROR",
      error: "cwd /no/such/place: there is no such folder on this worker",
    });
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

  test("takes XComs from its parents and leaves its own, a mapping of JSON on each line", async () => {
    const left = await run(
      `echo "{\\"seen\\": $(cat "$SLUICE_XCOMS")}" > "$SLUICE_XCOM_PUSH"; echo '{"rows": 7, "n": null}' >> "$SLUICE_XCOM_PUSH"`,
    );
    expect(left).toMatchObject({
      kind: "success",
      output: undefined,
      pushed: { seen: { parent: { file: "a.csv" } }, rows: 7, n: null },
    });
    expect(await run(`echo x > "$SLUICE_XCOM_PUSH"`)).toMatchObject({
      reason: "RESULT_UNSTORABLE",
      error: expect.stringContaining("line 1 of $SLUICE_XCOM_PUSH is not JSON"),
    });
    expect(await run(`echo '[1]' > "$SLUICE_XCOM_PUSH"`)).toMatchObject({
      error: 'line 1 of $SLUICE_XCOM_PUSH is not a mapping like {"key": value}',
    });
    expect(await run(`head -c 17000000 /dev/zero > "$SLUICE_XCOM_PUSH"`)).toMatchObject({
      reason: "RESULT_TOO_LARGE",
      error: "$SLUICE_XCOM_PUSH has 17000000 bytes; at most 16777216 are kept",
    });
  });

  test("takes what it finds in $SLUICE_OUTPUT as its output", async () => {
    expect(await run(`echo '{"a":[1,2]}' > "$SLUICE_OUTPUT"`)).toMatchObject({
      kind: "success",
      output: { a: [1, 2] },
      exitCode: 0,
    });
    expect(await run(`ln -s /etc/passwd "$SLUICE_OUTPUT"`)).toMatchObject({
      reason: "RESULT_UNSTORABLE",
      error: "$SLUICE_OUTPUT cannot be read: it is a link",
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

test("text is UTF-8, unless the task says something else", async () => {
  const length = async (env: Record<string, string>): Promise<string> => {
    log = "";
    await run("x=\u00fc; echo ${#x} $(printf %s $x | wc -m)", env);
    return log;
  };
  expect(await length({})).toBe("1 1\n");
  for (const name of ["LANG", "LC_CTYPE", "LC_ALL"]) expect(await length({ [name]: "C" })).toBe("2 2\n");
});
