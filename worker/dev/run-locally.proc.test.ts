import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseDefinition } from "#lib/domain/definition/parse.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { plainEnv } from "#lib/env.ts";
import { executorsWith } from "#lib/executors/registry.ts";
import { allEnded } from "#lib/testing/processes.ts";
import { NO_SECRETS, type SecretProvider } from "../secrets/provider.ts";
import type { Deferred, LocalRunOptions, LocalRunResult, Retrying, TaskEnd } from "./local-run.ts";
import { runLocally } from "./run-locally.ts";

let dagsDir: string;
beforeAll(async () => {
  dagsDir = await mkdtemp(path.join(os.tmpdir(), "sluice-local-"));
});
afterAll(() => rm(dagsDir, { recursive: true, force: true }));

type Heard = { output: string; retries: Retrying[]; looks: Deferred[] };

/** Runs the tasks of a YAML text. `onOutput` hears everything written so far. */
async function run(
  tasks: string,
  given: Partial<Omit<LocalRunOptions, "dag">> & {
    head?: string;
    files?: Record<string, string>;
    onOutput?: (text: string) => void;
  } = {},
): Promise<LocalRunResult & Heard> {
  const { head = "", files = {}, onOutput, ...options } = given;
  const parsed = parseDefinition(`id: local\n${head}tasks:\n${tasks}`, "local.yaml");
  if (!parsed.ok) throw new Error(parsed.problems[0]!.message);
  const bundle = Object.keys(files).length === 0 ? {} : { bundle: "0".repeat(64) };
  const spec: DagSpec = { ...parsed.spec, ...bundle };
  const heard: Heard = { output: "", retries: [], looks: [] };
  const result = await runLocally({
    dag: { spec, source: "", files, imports: [] },
    dagsDir,
    conf: {},
    mocks: new Map(),
    only: [],
    times: {
      logicalDate: new Date("2026-01-31T06:00:00Z"),
      intervalStart: new Date("2026-01-30T05:00:00Z"),
      intervalEnd: new Date("2026-01-31T05:00:00Z"),
    },
    env: plainEnv(),
    httpAllow: [],
    docker: { dockerHost: undefined, dockerMounts: [], taskPids: 100 },
    secrets: NO_SECRETS,
    executors: executorsWith([]),
    waits: false,
    signal: new AbortController().signal,
    on: {
      started: () => undefined,
      ended: () => undefined,
      retrying: (_, retry) => heard.retries.push(retry),
      deferred: (_, look) => heard.looks.push(look),
      output(_, stream, bytes) {
        heard.output += `${stream}:${bytes.toString()}`;
        onOutput?.(heard.output);
      },
    },
    ...options,
  });
  return { ...result, ...heard };
}

function endOf(result: LocalRunResult, id: string): TaskEnd | undefined {
  return result.ok ? result.run.tasks.find((task) => task.id === id) : undefined;
}

test("outputs travel between processes and functions, and the run's facts with them", async () => {
  const result = await run(
    `  - { id: a, bash: 'echo "\\"$SLUICE_LOGICAL_DATE $SLUICE_INTERVAL_START $SLUICE_INTERVAL_END\\"" > $SLUICE_OUTPUT' }
  - { id: b, dependsOn: [a], fn: './code.ts#both', env: { END: '\${{ run.intervalEnd }}' } }`,
    { files: { "code.ts": "export const both = ({ outputs, run, env }) => [outputs.a, run, env.END];" } },
  );
  const times = {
    logicalDate: "2026-01-31T06:00:00.000Z",
    intervalStart: "2026-01-30T05:00:00.000Z",
    intervalEnd: "2026-01-31T05:00:00.000Z",
  };
  expect(endOf(result, "b")).toMatchObject({
    state: "success",
    output: [Object.values(times).join(" "), { id: "local", dagId: "local", ...times }, times.intervalEnd],
  });
});

test("programs in files are those of the version", async () => {
  const result = await run(
    `  - { id: a, bash: { script: sub/a.sh, args: [x] } }
  - { id: b, python: { file: b.py } }`,
    { files: { "sub/a.sh": 'echo "a $1"', "b.py": "print('b')" } },
  );
  expect(result.output.replaceAll("stdout:", "")).toBe("a x\nb\n");
});

test("a function's failure is told by its own files' names", async () => {
  const result = await run(`  - { id: a, fn: './sub/code.ts#fails' }`, {
    files: { "sub/code.ts": "export function fails() { throw new Error('no'); }" },
  });
  expect(endOf(result, "a")).toMatchObject({ state: "failed", reason: "EXCEPTION", error: "Error: no" });
  expect(result.output).toContain("at fails (sub/code.ts:1:");
});

test("an attempt is repeated as often as the policy says, and only for its reasons", async () => {
  const task = (retryOn: string): string =>
    `  - { id: a, bash: exit 3, retries: { max: 2, delay: 1ms, jitter: false, retryOn: { exitCodes: [${retryOn}] } } }`;
  const retried = await run(task("3"), { waits: true });
  expect(retried.retries.map((retry) => retry.waitMs)).toEqual([1, 2]);
  expect(endOf(retried, "a")).toMatchObject({ state: "failed", attempts: 3, reason: "EXIT" });
  expect(endOf(await run(task("4")), "a")).toMatchObject({ state: "failed", attempts: 1 });
});

test('a function that says "not yet" is called again in the same attempt', async () => {
  const files = {
    "code.ts": `import { notYet } from "sluice";
      let calls = 0;
      export const twice = ({ attemptId }) => (++calls < 2 ? notYet({ after: "5m", reason: "call " + calls }) : [calls, attemptId]);`,
  };
  const came = await run("  - { id: a, fn: './code.ts#twice' }", { files });
  expect(endOf(came, "a")).toMatchObject({ state: "success", attempts: 1, output: [2, "local-a-1"] });
  expect(came.looks).toEqual([{ reason: "call 1", waitMs: 300_000, waits: false }]);
});

test("a stop ends processes and functions with all they started", async () => {
  const stopping = new AbortController();
  const pids: number[] = [];
  const stopOn = (text: string): void => {
    const pid = /pid (\d+)\n/.exec(text)?.[1];
    if (pid === undefined || stopping.signal.aborted) return;
    pids.push(Number(pid));
    stopping.abort(new Error("stopped"));
  };
  const result = await run(
    `  - { id: a, fn: './code.ts#hangs' }
  - { id: b, dependsOn: [a], triggerRule: all_done, noop: }`,
    {
      files: {
        "code.ts": `import { spawn } from "node:child_process";
          export const hangs = () => { console.log("pid " + spawn("sleep", ["60"]).pid); for (;;); };`,
      },
      signal: stopping.signal,
      onOutput: stopOn,
    },
  );
  expect(result).toMatchObject({ ok: true, run: { state: "cancelled" } });
  expect(endOf(result, "a")).toMatchObject({ state: "cancelled", by: "run" });
  expect(endOf(result, "b")).toMatchObject({ state: "cancelled", by: "stop", attempts: 0 });
  expect(pids).toHaveLength(1);
  expect(await allEnded(pids)).toBe(true);
});

test("expressions are evaluated from params and outputs; a false condition skips, a mistake fails", async () => {
  const result = await run(
    `  - { id: a, bash: 'echo "{\\"n\\":3}" > $SLUICE_OUTPUT' }
  - { id: b, dependsOn: [a], bash: 'echo "$CITY"', env: { CITY: '\${{ params.city }} \${{ outputs.a.n }}' } }
  - { id: c, dependsOn: [a], condition: '\${{ outputs.a.n > 5 }}', bash: 'echo never' }
  - { id: d, dependsOn: [c], noop: }
  - { id: e, dependsOn: [a], bash: 'true', env: { X: '\${{ outputs.a.missing.deep }}' } }`,
    { head: "params: { city: { type: string, default: Oslo } }\n" },
  );
  expect(result.output).toContain("stdout:Oslo 3\n");
  expect(result.output).not.toContain("never");
  expect(endOf(result, "c")).toMatchObject({ state: "skipped", by: "condition", reason: "CONDITION" });
  expect(endOf(result, "d")).toMatchObject({ state: "skipped", by: "rule" });
  expect(endOf(result, "e")).toMatchObject({ state: "failed", reason: "EXPRESSION" });
});

test("secrets reach tasks and are masked in all that is told; one that is missing is not waited for", async () => {
  const secrets: SecretProvider = {
    place: "the store",
    get: async () => ({ ok: true, values: new Map([["TOKEN", "hunter2-hunter2"]]) }),
  };
  const result = await run(
    `  - { id: a, bash: 'echo "as $TOKEN"; echo "\\"$TOKEN\\"" > $SLUICE_OUTPUT', env: { TOKEN: '\${{ secrets.TOKEN }}' } }
  - { id: b, bash: 'true', retries: 3, env: { X: '\${{ secrets.OTHER }}' } }`,
    { secrets },
  );
  expect(result.output).toBe("stdout:as ***\n");
  expect(endOf(result, "a")).toMatchObject({ state: "success", output: "***" });
  expect(endOf(result, "b")).toMatchObject({ state: "failed", reason: "SECRET_MISSING", attempts: 1 });
});

test("an output that the database could not keep fails the task", async () => {
  const result = await run(`  - { id: a, bash: 'printf "%s" "\\"\\\\u0000\\"" > $SLUICE_OUTPUT' }`);
  expect(endOf(result, "a")).toMatchObject({ state: "failed", reason: "RESULT_UNSTORABLE" });
});

test("the verdict of a selection is that of its own last tasks", async () => {
  const tasks = `  - { id: a, bash: exit 1 }
  - { id: b, dependsOn: [a], triggerRule: all_done, noop: }`;
  expect(await run(tasks)).toMatchObject({ ok: true, run: { state: "success" } });
  expect(await run(tasks, { only: ["a"] })).toMatchObject({ ok: true, run: { state: "failed" } });
});

test("mistakes in what is asked for run nothing", async () => {
  const result = await run(`  - { id: load, bash: 'true' }`, { only: ["laod"], mocks: new Map([["x", 1]]) });
  expect(result).toMatchObject({
    ok: false,
    problems: [`"x" is not a task of the DAG "local"`, `"laod" is not a task of the DAG "local"; did you mean "load"?`],
  });
});
