import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import type { Exit } from "#lib/executors/executor.ts";
import { allEnded, isRunning } from "#lib/testing/processes.ts";
import { createSpawner, type Spawner } from "./client.ts";
import type { FromSpawner } from "./protocol.ts";

let spawner: Spawner;
let folder: string;

beforeAll(async () => {
  spawner = createSpawner(plainEnv());
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-spawn-"));
});
afterAll(async () => {
  await spawner.stop();
  await rm(folder, { recursive: true, force: true });
});

async function run(
  command: string,
  signal = new AbortController().signal,
  onText: (text: string) => void = () => undefined,
): Promise<Exit & { text: string }> {
  let text = "";
  const request = { file: "bash", args: ["-c", command], cwd: folder, env: { PATH: "/usr/bin:/bin" } };
  const exit = await spawner.run(request, signal, async (_, bytes) => {
    text += bytes.toString("latin1");
    onText(text);
  });
  return { ...exit, text };
}

describe("the spawner", () => {
  test("hands on output, exit codes and signals", async () => {
    expect(await run("echo out; echo err >&2; exit 7")).toMatchObject({ code: 7, signal: null });
    expect((await run("printf 'a\\0b\\377'")).text).toBe("a\0b\xff");
    expect(await run("kill -9 $$")).toMatchObject({ code: null, signal: "SIGKILL" });
  });

  test("tells why a process could not be started", async () => {
    const request = { file: "/no/such/program", args: [], cwd: folder, env: {} };
    const exit = await spawner.run(request, new AbortController().signal, async () => undefined);
    expect(exit).toMatchObject({ code: null, error: expect.stringContaining("ENOENT") });
  });

  test("survives a command that is too long for the system, and tells so", async () => {
    const beside = run("sleep 0.2; echo fine");
    expect(await run(`: ${"x".repeat(200_000)}`)).toMatchObject({
      code: null,
      error: expect.stringContaining("E2BIG"),
    });
    expect(await beside).toMatchObject({ code: 0, text: "fine\n" });
  });

  test("gives the process nothing of the worker's environment", async () => {
    const { text } = await run("env | cut -d= -f1 | sort | tr '\\n' ' '");
    expect(
      text
        .trim()
        .split(" ")
        .filter((name) => !["_", "PWD", "SHLVL", "OLDPWD"].includes(name)),
    ).toEqual(["PATH"]);
  });

  test("stops the whole group, also what ignores SIGTERM", async () => {
    const stop = new AbortController();
    const pids: number[] = [];
    const exit = await run(
      "trap '' TERM; (trap '' TERM; echo $BASHPID; while :; do sleep 0.1; done) & echo $$; wait",
      stop.signal,
      (text) => {
        if (text.split("\n").length < 3 || pids.length > 0) return;
        pids.push(...text.trim().split("\n").map(Number));
        stop.abort();
      },
    );
    expect(exit.signal).toBe("SIGKILL");
    expect(pids).toHaveLength(2);
    expect(await allEnded(pids)).toBe(true);
  });

  test("ends what a command left in the background, and waits no longer for its pipes", async () => {
    const { code, text } = await run("sleep 300 & echo $!");
    expect(code).toBe(0);
    expect(await allEnded([Number(text)])).toBe(true);
  });

  test("carries a flood of output through to the last byte", async () => {
    let bytes = 0;
    const request = {
      file: "bash",
      args: ["-c", "head -c 50000000 /dev/zero"],
      cwd: folder,
      env: { PATH: "/usr/bin:/bin" },
    };
    await spawner.run(request, new AbortController().signal, async (_, chunk) => {
      bytes += chunk.length;
    });
    expect(bytes).toBe(50_000_000);
  });

  test("kills every task process when the worker is gone, however it went", async () => {
    const main = fileURLToPath(new URL("./main.ts", import.meta.url));
    const child = fork(main, [], { serialization: "advanced", stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const pidFile = path.join(folder, "task-pid");
    child.send({
      kind: "spawn",
      id: 1,
      file: "bash",
      args: ["-c", `echo $$ > ${pidFile}; echo ready; sleep 300`],
      cwd: folder,
      env: { PATH: "/usr/bin:/bin" },
    });
    for (let kind = ""; kind !== "data";) [{ kind }] = (await once(child, "message")) as [FromSpawner];
    const pid = Number(await readFile(pidFile, "utf8"));
    expect(isRunning(pid)).toBe(true);
    // What the kernel does to the channel when the worker dies.
    child.disconnect();
    await once(child, "exit");
    expect(await allEnded([pid])).toBe(true);
  });
});
