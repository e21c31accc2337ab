import { expect, test } from "vitest";
import { NO_XCOMS } from "#lib/domain/xcom.ts";
import type { ExecutorContext, Exit, Outcome, SpawnRequest } from "./executor.ts";
import { createAddressGuard } from "./http-address.ts";
import { runProcessTask } from "./process-task.ts";

const USAGE = { peakMemoryBytes: 4_096, cpuMs: 12 };

function verdictOn(exit: Partial<Exit>): Promise<Outcome> {
  return run({ spawn: async () => ({ code: null, signal: null, usage: USAGE, ...exit }) });
}

function run(more: Pick<ExecutorContext, "spawn"> & Partial<ExecutorContext>): Promise<Outcome> {
  const context: ExecutorContext = {
    attempt: {
      attemptId: "a-1",
      number: 1,
      taskInstanceId: "1048576",
      taskId: "t",
      runId: "1",
      dagId: "d",
      logicalDate: "2026-01-01T00:00:00.000Z",
      intervalStart: "2026-01-01T00:00:00.000Z",
      intervalEnd: "2026-01-02T00:00:00.000Z",
      conf: { asked: 1 },
      params: {},
      bundle: undefined,
    },
    env: {},
    inputs: async () => NO_XCOMS,
    signal: new AbortController().signal,
    timeoutMs: 60_000,
    workDir: "/attempts/a-1",
    network: createAddressGuard([]),
    sourceOf: () => Promise.reject(new Error("it has no file")),
    log: () => undefined,
    contain: () => Promise.reject(new Error("no container")),
    call: () => Promise.reject(new Error("a process calls no function")),
    ...more,
  };
  return runProcessTask(context, { file: "x", args: [], what: "command" }, { skipOn: [99], failOn: [78] });
}

test("an end for want of memory is told as one, whoever in the task was killed", async () => {
  const oom = { kind: "failed", reason: "OOM", error: "killed at 512 MiB", usage: USAGE };
  expect(await verdictOn({ signal: "SIGKILL", outOfMemory: 512 })).toEqual({ ...oom, exitCode: undefined });
  expect(await verdictOn({ code: 137, outOfMemory: 512 })).toEqual({ ...oom, exitCode: 137 });
  expect(await verdictOn({ signal: "SIGKILL", outOfMemory: 0 })).toMatchObject({
    reason: "OOM",
    error: expect.stringContaining("machine"),
  });
  // Where the system kills one process only, the rest of the task may go on and make something of half the work.
  expect(await verdictOn({ code: 0, outOfMemory: 512 })).toEqual({ ...oom, exitCode: 0 });
  // Another's want of memory, and the task did without what was killed.
  expect(await verdictOn({ code: 0, outOfMemory: 0 })).toMatchObject({ kind: "success" });
});

test("an exit code that a signal would give is an exit code", async () => {
  expect(await verdictOn({ code: 137 })).toMatchObject({ reason: "EXIT", exitCode: 137 });
  expect(await verdictOn({ signal: "SIGKILL" })).toMatchObject({ reason: "SIGNAL" });
  expect(await verdictOn({ code: 99 })).toMatchObject({ kind: "skipped", usage: USAGE });
  expect(await verdictOn({ code: 98 })).not.toHaveProperty("isFinal");
  expect(await verdictOn({ code: 78 })).toMatchObject({ reason: "EXIT", exitCode: 78, isFinal: true });
});

test("a folder that finds no room on the disk is another end than a program that is not there", async () => {
  expect(await verdictOn({ error: "write /w/inputs.json ENOSPC" })).toMatchObject({ reason: "DISK_FULL" });
  expect(await verdictOn({ error: "spawn bash ENOENT" })).toMatchObject({ reason: "SPAWN_ERROR" });
});

test("a folder that the program cannot run in is told by its name", async () => {
  const told = async (error: string): Promise<unknown> => ((await verdictOn({ error })) as { error: string }).error;
  expect(await told("chdir /data/a b ENOENT")).toBe("cwd /data/a b: there is no such folder on this worker");
  expect(await told("chdir /etc/passwd ENOTDIR")).toBe("cwd /etc/passwd: this is not a folder");
  expect(await told("chdir /root EACCES")).toBe("cwd /root: the user that tasks run as may not enter it");
  expect(await told("chdir /x ELOOP")).toBe("cwd /x: ELOOP");
  expect(await told("spawn bash ENOENT")).toBe("spawn bash ENOENT");
});

test("an output that is a link is not read", async () => {
  expect(await verdictOn({ code: 0, outputs: [{ trouble: "it is a link" }] })).toMatchObject({
    kind: "failed",
    reason: "RESULT_UNSTORABLE",
    error: "$SLUICE_OUTPUT cannot be read: it is a link",
  });
});

test("inputs that say nothing are the one file that says so, where there is one", async () => {
  const asked: SpawnRequest[] = [];
  const spawn = async (request: SpawnRequest): Promise<Exit> => {
    asked.push(request);
    return { code: 0, signal: null };
  };
  await run({ spawn });
  await run({ spawn, nothing: "/attempts/nothing.json" });
  const [made, shared] = asked.map(({ env, files }) => ({ files, ...env }));
  expect(made).toMatchObject({
    files: { "inputs.json": "{}", "xcoms.json": "{}", "params.json": "{}", "conf.json": '{"asked":1}' },
    SLUICE_INPUTS: "/attempts/a-1/inputs.json",
  });
  expect(shared!.files).toEqual({ "conf.json": '{"asked":1}' });
  expect(shared).toMatchObject({
    SLUICE_INPUTS: "/attempts/nothing.json",
    SLUICE_XCOMS: "/attempts/nothing.json",
    SLUICE_PARAMS: "/attempts/nothing.json",
    SLUICE_CONF: "/attempts/a-1/conf.json",
    SLUICE_OUTPUT: "/attempts/a-1/output.json",
  });
});
