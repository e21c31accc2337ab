import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCgroups } from "#worker/cgroups/open.ts";
import { plainEnv } from "#lib/env.ts";
import type { Exit } from "#lib/executors/executor.ts";
import { allEnded, isRunning } from "#lib/testing/processes.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createSpawner, type Spawner } from "./client.ts";

const MIB = 1024 * 1024;
const probe = openCgroups(`probe-${process.pid}`);
probe.remove();

describe.runIf(probe.none === undefined)("limits", () => {
  const cgroups = openCgroups(`test-${process.pid}`);
  let spawner: Spawner;
  let folder: string;
  let processes = 0;

  beforeAll(async () => {
    // As a worker does before it takes anything.
    await cgroups.sweep();
    spawner = createSpawner({ env: plainEnv(), program: "perl", log: SILENT, cgroups, maxPids: 64 });
    folder = await mkdtemp(path.join(os.tmpdir(), "sluice-limits-"));
  });
  afterAll(async () => {
    await spawner.stop();
    expect(await cgroups.sweep()).toBe(0);
    cgroups.remove();
    await rm(folder, { recursive: true, force: true });
  });

  async function run(command: string, limits = { cpu: 0, memory: 0 }): Promise<Exit & { text: string }> {
    let text = "";
    const own = path.join(folder, `p-${++processes}`);
    const request = { file: "bash", args: ["-c", command], env: { PATH: "/usr/bin:/bin" }, folder: own, files: {} };
    const take = async (_: string, bytes: Buffer): Promise<void> => void (text += bytes.toString());
    const exit = await spawner.run(request, new AbortController().signal, take, limits);
    return { ...exit, text };
  }

  const ALLOCATE = `x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo \${#x}`;

  test("memory: what takes more than it asked for is killed, and the verdict says so", async () => {
    expect(await run(ALLOCATE, { cpu: 0, memory: 64 })).toMatchObject({ outOfMemory: 64 });
    expect(await run("echo small", { cpu: 0, memory: 64 })).toMatchObject({ code: 0, text: "small\n" });
    expect((await run("echo small", { cpu: 0, memory: 64 })).outOfMemory).toBeUndefined();
  });

  test("use is told, of the grandchildren too", async () => {
    const { code, usage } = await run(`(${ALLOCATE}); bash -c 'for ((i = 0; i < 200000; i++)); do :; done'; true`);
    expect(code).toBe(0);
    expect(usage!.peakMemoryBytes).toBeGreaterThan(200 * MIB);
    expect(usage!.cpuMs).toBeGreaterThan(100);
    const small = await run("true");
    expect(small.usage!.peakMemoryBytes).toBeLessThan(50 * MIB);
    expect(small.usage!.cpuMs).toBeLessThan(100);
  });

  test("a control group that is used again knows nothing of the attempt before", async () => {
    const groupOf = "grep pids: /proc/self/cgroup";
    const limits = { cpu: 0, memory: 100 };
    const large = await run(`${groupOf}; ${ALLOCATE.replace("200000000", "20000000")}; true`, limits);
    const small = await run(groupOf, limits);
    expect(small.usage!.peakMemoryBytes).toBeLessThan(large.usage!.peakMemoryBytes! / 2);
    expect(small.usage!.cpuMs).toBeLessThan(large.usage!.cpuMs! + 1);
    const others = await run(groupOf, { cpu: 0, memory: 101 });
    expect(others.text).not.toBe(small.text);
  });

  test("files in memory that an attempt leaves are not charged to another", async () => {
    const kept = `/dev/shm/sluice-test-${process.pid}`;
    const limits = { cpu: 0, memory: 48 };
    expect((await run(`head -c 36000000 /dev/zero > ${kept}`, limits)).code).toBe(0);
    const next = await run(ALLOCATE.replace("200000000", "6000000"), limits);
    await rm(kept);
    expect(next).toMatchObject({ code: 0, text: "6000000\n" });
  });

  test("processors: half of one is half of one", async () => {
    const { usage } = await run("timeout 1 bash -c 'while :; do :; done'; true", { cpu: 500, memory: 0 });
    expect(usage!.cpuMs).toBeLessThan(800);
  });

  test("what leaves the session of the task does not outlive it", async () => {
    const { code, text } = await run(
      "setsid sleep 300 & setsid setsid sleep 300 >/dev/null 2>&1 & echo $!; wait %%; echo $!",
    );
    expect(code).toBe(0);
    expect(await allEnded(text.trim().split("\n").map(Number))).toBe(true);
    const daemon = await run("mkfifo up; (env -i setsid bash -c 'echo $$; echo > up; exec sleep 300' &); read < up");
    expect(daemon.text).not.toBe("");
    expect(isRunning(Number(daemon.text))).toBe(false);
  });
});
