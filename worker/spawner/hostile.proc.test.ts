import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCgroups } from "#worker/cgroups/open.ts";
import { NO_GROUPS } from "#worker/cgroups/none.ts";
import { createUserPool, OWN_USER } from "#worker/user-pool.ts";
import { endLeftovers } from "#worker/leftovers.ts";
import { plainEnv } from "#lib/env.ts";
import type { Exit } from "#lib/executors/executor.ts";
import { allEnded, isRunning } from "#lib/testing/processes.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createSpawner, type Spawner } from "./client.ts";
import type { SpawnerProgram } from "./launch.ts";

/** Of this run alone: one of its tasks kills all that is of its user. */
const FIRST_UID = 100_000 + 4 * process.pid;
const probe = openCgroups(`probe-${process.pid}`);
probe.remove();
const hasGroups = probe.none === undefined;
const isRoot = process.getuid?.() === 0;
/** For what would harm more than the test if it were not another user that does it. */
const ONLY_OTHERS = `[ "$(id -u)" -gt ${FIRST_UID} ] || exit 99;`;

describe.each<SpawnerProgram>(["perl", "node"])("a hostile task, started in %s,", (program) => {
  // Without a Perl there are no limits.
  const limited = hasGroups && program === "perl";
  const cgroups = limited ? openCgroups(`hostile-${program}-${process.pid}`) : NO_GROUPS;
  const users = isRoot
    ? createUserPool([0, 1, 2, 3].map((n) => ({ uid: FIRST_UID + n, gid: FIRST_UID + n })))
    : OWN_USER;
  let spawner: Spawner;
  let folder: string;
  let processes = 0;

  beforeAll(async () => {
    spawner = createSpawner({ env: plainEnv(), program, log: SILENT, cgroups, users, maxPids: 64 });
    folder = await mkdtemp(path.join(os.tmpdir(), "sluice-hostile-"));
    await chmod(folder, 0o711);
  });
  afterAll(async () => {
    await spawner.stop();
    expect(await cgroups.sweep()).toBe(0);
    cgroups.remove();
    await rm(folder, { recursive: true, force: true });
  });

  async function run(
    command: string,
    options: { memory?: number; signal?: AbortSignal; onText?: (text: string) => void } = {},
  ): Promise<Exit & { text: string }> {
    let text = "";
    const own = path.join(folder, `p-${++processes}`);
    const env = { PATH: "/usr/bin:/bin", HOME: own };
    const request = { file: "bash", args: ["-c", command], env, folder: own, files: {} };
    const take = async (_: string, bytes: Buffer): Promise<void> =>
      options.onText?.((text += bytes.toString("latin1")));
    const signal = options.signal ?? new AbortController().signal;
    const exit = await spawner.run(request, signal, take, { cpu: 0, memory: options.memory ?? 0 });
    return { ...exit, text };
  }

  /** Runs it until it says `up`, then what a good neighbour does, then stops it. */
  async function besides(command: string): Promise<Exit & { text: string }> {
    const stop = new AbortController();
    const up = Promise.withResolvers<void>();
    const onText = (text: string): void => {
      if (text.includes("up\n")) up.resolve();
    };
    const hostile = run(command, { signal: stop.signal, onText });
    await Promise.race([up.promise, hostile]);
    expect(await run("echo fine", { onText: () => undefined })).toMatchObject({ code: 0, text: "fine\n" });
    stop.abort();
    return hostile;
  }

  test.runIf(limited)("is a fork bomb: it meets its limit, and its neighbours do not notice", async () => {
    const exit = await besides(
      `trap '' TERM; mkfifo w; f() { f | f & }; (f 2>/dev/null) & echo up; while :; do read -r -t 300 <> w; done`,
    );
    expect(exit).toMatchObject({ signal: "SIGKILL" });
  });

  test.runIf(limited)("takes all memory: only it is killed, whichever of its processes took it", async () => {
    const hog = `x=$(head -c 300000000 /dev/zero | tr '\\0' x)`;
    const [exit, grandchild, small] = await Promise.all([
      run(hog, { memory: 64 }),
      run(`(setsid bash -c "${hog.replaceAll("$", "\\$")}") || exit 7`, { memory: 64 }),
      run("echo fine", { memory: 64 }),
    ]);
    expect(exit.outOfMemory).toBe(64);
    expect(grandchild).toMatchObject({ outOfMemory: 64 });
    expect(small).toMatchObject({ code: 0 });
  });

  test.runIf(limited)("leaves a daemon without any sign of where it came from", async () => {
    const command = `trap '' TERM HUP; mkfifo up; (cd /; env -i setsid bash -c 'trap "" TERM; echo $$; exec >&- 2>&- <&-; echo > "$0/up"; while :; do read -r -t 300 < <(sleep 300); done' "$HOME" &); read < up`;
    let text = "";
    const exit = await run(command, { onText: (all) => (text = all) });
    expect(exit).toMatchObject({ code: 0 });
    expect(text).toMatch(/^\d+\n$/);
    expect(await allEnded([Number(text)])).toBe(true);
  });

  test("closes its output and goes on: its end is its end", async () => {
    const exit = await run("mkfifo a; exec >&- 2>&-; (read -t 0.3 <> a); exit 3");
    expect(exit).toMatchObject({ code: 3, signal: null });
  });

  test("writes 300 MB without a line end: the worker takes it at its own pace", async () => {
    const before = process.memoryUsage().rss;
    let most = 0;
    let bytes = 0;
    const request = {
      file: "bash",
      args: ["-c", "head -c 300000000 /dev/zero | tr '\\0' x"],
      env: { PATH: "/usr/bin:/bin" },
      folder: path.join(folder, `p-${++processes}`),
      files: {},
    };
    const exit = await spawner.run(request, new AbortController().signal, async (_, chunk) => {
      bytes += chunk.length;
      most = Math.max(most, process.memoryUsage().rss - before);
    });
    expect(exit.code).toBe(0);
    expect(bytes).toBe(300_000_000);
    expect(most).toBeLessThan(150_000_000);
  });

  test.runIf(isRoot)("kills whatever it may: itself", async () => {
    const exit = await besides(`${ONLY_OTHERS} echo up; kill -9 $PPID ${process.pid} 2>&1; kill -9 -1; kill -9 $$`);
    expect(exit.signal).toBe("SIGKILL");
    expect(exit.text.match(/Operation not permitted/g)).toHaveLength(2);
  });

  test.runIf(isRoot && limited)("cannot leave its control group or change its limits", async () => {
    const procs = cgroups.open({ memory: 0, cpu: 0, pids: 0 });
    const command = `${ONLY_OTHERS} for f in ${procs.procs.join(" ")}; do echo $$ > $f; done; for f in $(find /sys/fs/cgroup -path "*/hostile-${program}-${process.pid}/*" -name "*max*" -o -path "*/hostile-${program}-${process.pid}/*" -name "*limit*"); do echo 1 > $f; done; true`;
    const exit = await run(command, { onText: () => undefined });
    expect(exit.text.match(/Permission denied/g)!.length).toBeGreaterThan(procs.procs.length);
    await procs.close();
  });

  test("plants links for whoever removes its folder", async () => {
    const victim = path.join(folder, `victim-${program}`);
    await mkdir(victim);
    await writeFile(path.join(victim, "precious"), "");
    expect(await run(`mkdir d; ln -s ${victim} d/link; ln -s ${victim} link; ln -s / root`)).toMatchObject({ code: 0 });
    await expect.poll(() => readdir(folder)).toEqual([`victim-${program}`]);
    expect(await readdir(victim)).toEqual(["precious"]);
  });

  test("ends the spawner: its attempt is lost, and the next one finds a new spawner", async () => {
    // As a task of the worker's own user could.
    const own = createSpawner({ env: plainEnv(), program, log: SILENT, cgroups });
    const request = (command: string) => {
      const attempt = path.join(folder, `p-${++processes}`);
      const env = { PATH: "/usr/bin:/bin" };
      return { file: "bash", args: ["-c", command], env, folder: attempt, files: {} };
    };
    const signal = new AbortController().signal;
    const pidFile = path.join(folder, "pid");
    const exit = await own.run(
      request(`echo $$ > ${pidFile}; kill -9 $PPID; exec sleep 300`),
      signal,
      async () => undefined,
    );
    expect(exit).toMatchObject({ code: null, error: "the spawner process was lost" });
    const pid = Number(await readFile(pidFile, "utf8"));
    expect(pid).toBeGreaterThan(0);
    expect(await allEnded([pid])).toBe(true);
    await expect.poll(() => own.run(request("exit 4"), signal, async () => undefined)).toMatchObject({ code: 4 });
    await own.stop();
  });
});

test.runIf(process.platform === "linux")(
  "what is left when worker and spawner are killed together is ended by the next worker",
  async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-killed-"));
    const main = fileURLToPath(new URL("./testing/killed-worker.ts", import.meta.url));
    const command = "(setsid bash -c 'echo daemon $$; exec sleep 300' &); echo spawner $PPID; exec sleep 300";
    const worker = spawn(process.execPath, [main, folder, command], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    for (; text.split("\n").length < 3;) text += String((await once(worker.stdout, "data"))[0]);
    const pidOf = (what: string): number => Number(new RegExp(`^${what} (\\d+)$`, "m").exec(text)![1]);
    const [daemon, spawner] = [pidOf("daemon"), pidOf("spawner")];
    // Neither may see the other's end and act on it.
    for (const pid of [worker.pid!, spawner]) process.kill(pid, "SIGSTOP");
    for (const pid of [worker.pid!, spawner]) process.kill(pid, "SIGKILL");
    await once(worker, "exit");
    expect(isRunning(daemon)).toBe(true);
    await endLeftovers(NO_GROUPS, folder, SILENT);
    expect(await allEnded([daemon])).toBe(true);
    expect(await readdir(folder)).toEqual([]);
    await rm(folder, { recursive: true });
  },
);
