import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { NO_XCOMS } from "#lib/domain/xcom.ts";
import type { ExecutorContext, Outcome } from "./executor.ts";
import { createAddressGuard } from "./http-address.ts";
import { readExecutor } from "./plugin.ts";
import type { TaskContext } from "./task-context.ts";

const good = {
  type: "acme-mail",
  displayName: "Mail",
  about: "Sends a mail.",
  config: z.strictObject({ to: z.string() }),
  run: () => Promise.resolve({ kind: "success", output: undefined }),
};

function problemsOf(definition: unknown): string[] {
  const read = readExecutor(definition);
  return read.ok ? [] : read.problems;
}

describe("the definition of an executor", () => {
  test("has defaults for what need not be said", () => {
    expect(readExecutor(good)).toMatchObject({
      ok: true,
      executor: { type: "acme-mail", icon: "puzzle", slotClass: "inline", visible: [] },
    });
  });

  test.each<[object, RegExp]>([
    [{ type: "Mail" }, /^type: a type of task has 1 to 64 of a-z/],
    [{ type: "bash" }, /^type: "bash" is a built-in type; give it a name of its own, like "acme-bash"$/],
    [{ type: "env" }, /^type: "env" is an option of tasks; .* like "acme-env"$/],
    [{ displayName: "" }, /^displayName: /],
    [{ about: undefined }, /^about: .*expected string/],
    [{ icon: "rocket" }, /^icon: must be one of bell, .*, or the path of a drawing like "M4 12h16"$/],
    [{ icon: 'M1 1"/><script>' }, /^icon: /],
    [
      { config: { to: "string" } },
      /^config: must be a schema of zod 3.24 or newer, or another with standardschema.dev$/,
    ],
    [{ config: undefined }, /^config: must be a schema/],
    [{ config: z.strictObject({}).refine(() => Promise.resolve(true)) }, /^config: the schema answers with a promise/],
    [{ slotClass: "function" }, /^slotClass: .*"inline"|"process"/],
    [{ shorthand: "too" }, /^shorthand: "too" is no member of its config, which has to$/],
    [{ visible: ["cc"] }, /^visible: "cc" is no member of its config, which has to$/],
    [{ run: "x" }, /^run: must be a function$/],
    [{ retries: 3 }, /Unrecognized key: "retries"/],
  ])("with %o is refused with what would be right", (change, message) => {
    expect(problemsOf({ ...good, ...change })).toEqual([expect.stringMatching(message)]);
  });

  test("that is none is refused, and all mistakes are told", () => {
    for (const nothing of [undefined, null, 5, "x", []]) expect(problemsOf(nothing)).not.toEqual([]);
    expect(problemsOf({ ...good, type: "", run: undefined })).toHaveLength(2);
  });
});

afterEach(() => vi.useRealTimers());

type Run = (task: TaskContext, config: unknown) => Promise<unknown>;

async function outcomeOf(run: Run, signal = new AbortController().signal): Promise<{ outcome: Outcome; log: string }> {
  let log = "";
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
      params: {},
      bundle: undefined,
    },
    env: { TASK: "own" },
    inputs: async () => NO_XCOMS,
    signal,
    timeoutMs: 60_000,
    workDir: "/attempts/a-1",
    contain: () => Promise.reject(new Error("it has no container")),
    sourceOf: () => Promise.reject(new Error("it has no program")),
    network: createAddressGuard([]),
    log: (stream, text) => (log += `${stream}: ${text}`),
    spawn: ({ env, folder }) => Promise.resolve({ code: 0, signal: null, error: JSON.stringify([env, folder]) }),
    call: () => Promise.reject(new Error("no function")),
  };
  const read = readExecutor({ ...good, run });
  if (!read.ok) throw new Error(read.problems.join());
  return { outcome: await read.executor.run(context, { to: "ops" }), log };
}

describe("the run of a plugin", () => {
  test("gets its config and the attempt, and leaves an output and XComs", async () => {
    const { outcome, log } = await outcomeOf(async (task, config) => {
      task.log.info("one");
      task.log.error("two\n");
      task.xcom.push("file", "a.csv");
      const left = task.deadline.getTime() - Date.now();
      return { kind: "success", output: { config, attempt: task.attempt, inTime: left > 50_000 && left <= 60_000 } };
    });
    expect(outcome).toEqual({
      kind: "success",
      output: {
        config: { to: "ops" },
        attempt: expect.objectContaining({
          id: "a-1",
          logicalDate: "2026-01-01T00:00:00.000Z",
          intervalStart: "2026-01-01T00:00:00.000Z",
          intervalEnd: "2026-01-02T00:00:00.000Z",
        }),
        inTime: true,
      },
      pushed: { file: "a.csv" },
    });
    expect(log).toBe("stdout: one\nstderr: two\n");
  });

  test("spawns programs with what every process of a task has, and its own on top", async () => {
    const { outcome } = await outcomeOf(async (task) => {
      const exits = [await task.spawn({ file: "true", env: { MINE: "1" } }), await task.spawn({ file: "true" })];
      return { kind: "success", output: exits.map((exit) => JSON.parse(exit.error!) as unknown) };
    });
    const [[env, folder], [, other]] = (outcome as { output: [Record<string, string>, string][] }).output as [
      [Record<string, string>, string],
      [object, string],
    ];
    expect(env).toMatchObject({
      SLUICE_ATTEMPT_ID: "a-1",
      SLUICE_INTERVAL_END: "2026-01-02T00:00:00.000Z",
      TASK: "own",
      MINE: "1",
      HOME: "/attempts/a-1-1",
    });
    // Each in a folder of its own: the first may still be going on, or be removed.
    expect([folder, other]).toEqual(["/attempts/a-1-1", "/attempts/a-1-2"]);
  });

  test("that throws, at once or later, is a failed end with the place in the log", async () => {
    const thrown = await outcomeOf(() => {
      throw new TypeError("no such thing");
    });
    expect(thrown.outcome).toEqual({ kind: "failed", reason: "EXCEPTION", error: "no such thing" });
    expect(thrown.log).toMatch(/^stderr: TypeError: no such thing\n +at .*plugin.test.ts/);
    const odd = await outcomeOf(async (task) => task.xcom.push("return_value", 1));
    expect(odd.outcome).toMatchObject({ error: expect.stringContaining("cannot be pushed") });
    const refused = await outcomeOf((task) => task.http({ url: "http://127.0.0.1:1/" }));
    expect(refused.outcome).toMatchObject({
      reason: "ADDRESS_REFUSED",
      error: expect.stringContaining("SLUICE_HTTP_ALLOW"),
    });
  });

  test.each([
    [undefined, "it answered undefined"],
    ["done", "it answered string"],
    [{ kind: "done" }, 'it answered a kind "done"'],
    [{ kind: "failed", reason: "NO" }, "in its answer, error: "],
    [{ kind: "failed", reason: "no luck\0", error: "x" }, "in its answer, reason: must be a word like HTTP_STATUS"],
    [{ kind: "success", output: 1, exitCode: 1.5 }, "in its answer, exitCode: "],
  ])("that answers with %o is told what an answer is", async (answer, told) => {
    const { outcome } = await outcomeOf(() => Promise.resolve(answer));
    expect(outcome).toMatchObject({
      kind: "failed",
      reason: "EXECUTOR_ERROR",
      error: expect.stringContaining(
        `run of "acme-mail" must answer with { kind: "success", output } or another outcome; ${told}`,
      ),
    });
  });

  test("that does not heed its signal is given up, and says nothing afterwards", async () => {
    vi.useFakeTimers();
    const stopping = new AbortController();
    const late = Promise.withResolvers<void>();
    let after = "";
    const ended = outcomeOf(async (task) => {
      await late.promise;
      task.log.info("too late");
      after = "ran on";
      throw new Error("too late");
    }, stopping.signal);
    stopping.abort();
    await vi.advanceTimersByTimeAsync(2_000);
    const { outcome, log } = await ended;
    expect(outcome).toMatchObject({ kind: "failed", reason: "CANCELLED", error: expect.stringContaining("given up") });
    late.resolve();
    await vi.advanceTimersByTimeAsync(0);
    expect(after).toBe("ran on");
    expect(log).toBe("");
  });

  test("is not begun when the attempt is over already", async () => {
    const { outcome } = await outcomeOf(() => Promise.reject(new Error("begun")), AbortSignal.abort());
    expect(outcome).toMatchObject({ kind: "failed", reason: "CANCELLED" });
  });
});
