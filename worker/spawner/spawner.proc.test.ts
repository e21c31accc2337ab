import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import type { Exit, SpawnRequest } from "#lib/executors/executor.ts";
import { allEnded, isRunning } from "#lib/testing/processes.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createSpawner, type Spawner } from "./client.ts";
import { launchSpawner, type SpawnerProcess, type SpawnerProgram } from "./launch.ts";
import { createFrameReader } from "../frames/frames.ts";
import { decodeFromSpawner, encodeToSpawner, FROM_SPAWNER } from "./protocol.ts";

describe.each<SpawnerProgram>(["perl", "node"])("the spawner in %s", (program) => {
  let spawner: Spawner;
  let folder: string;
  let processes = 0;

  beforeAll(async () => {
    spawner = createSpawner({ env: plainEnv(), program, log: SILENT });
    folder = await mkdtemp(path.join(os.tmpdir(), "sluice-spawn-"));
  });
  afterAll(async () => {
    await spawner.stop();
    await rm(folder, { recursive: true, force: true });
  });

  function requestOf(command: string, more: Partial<SpawnRequest> = {}): SpawnRequest {
    const own = path.join(folder, `p-${++processes}`);
    return { file: "bash", args: ["-c", command], env: { PATH: "/usr/bin:/bin" }, folder: own, files: {}, ...more };
  }

  async function run(
    command: string,
    signal = new AbortController().signal,
    onText: (text: string) => void = () => undefined,
    more: Partial<SpawnRequest> = {},
  ): Promise<Exit & { text: string }> {
    let text = "";
    const exit = await spawner.run(requestOf(command, more), signal, async (_, bytes) => {
      text += bytes.toString("latin1");
      onText(text);
    });
    return { ...exit, text };
  }

  test("hands on output, exit codes and signals", async () => {
    expect(await run("echo out; echo err >&2; exit 7")).toMatchObject({ code: 7, signal: null });
    expect((await run("printf 'a\\0b\\377'")).text).toBe("a\0b\xff");
    expect(await run("kill -9 $$")).toMatchObject({ code: null, signal: "SIGKILL" });
    expect(await run("exit 137")).toMatchObject({ code: 137, signal: null });
  });

  test("tells stdout from stderr", async () => {
    const got = { stdout: "", stderr: "" };
    await spawner.run(requestOf("echo out; echo err >&2"), new AbortController().signal, async (stream, bytes) => {
      got[stream] += bytes.toString();
    });
    expect(got).toEqual({ stdout: "out\n", stderr: "err\n" });
  });

  // Node gives its children sockets, which cannot be opened by name.
  test.runIf(program === "perl")("lets the process open its streams by name", async () => {
    const { code, text } = await run("echo out > /dev/stdout; echo err > /dev/stderr");
    expect([code, text.split("\n").toSorted()]).toEqual([0, ["", "err", "out"]]);
  });

  test("gives the process a folder of its own with its files, hands one back, and removes it", async () => {
    const files = { "in.txt": "one\0two \u{1F600}", empty: "" };
    const more = { files, outputs: [{ name: "out.txt", maxBytes: 100 }] };
    const made = await run(
      `ls; stat -c %a . in.txt; cat in.txt > out.txt; mkdir -p a/b; touch a/b/c`,
      undefined,
      undefined,
      more,
    );
    expect(made).toMatchObject({ code: 0, text: "empty\nin.txt\n700\n600\n", outputs: [{ text: files["in.txt"] }] });
    expect(await run("head -c 101 /dev/zero > out.txt", undefined, undefined, more)).toMatchObject({
      outputs: [{ size: 101, text: "" }],
    });
    expect((await run("true", undefined, undefined, more)).outputs).toEqual([undefined]);
    expect((await run("echo x > out.txt; false", undefined, undefined, more)).outputs).toBeUndefined();
    await expect.poll(() => readdir(folder)).toEqual([]);
  });

  test("files of one text are one file in the folder, of which each name can be taken away", async () => {
    const files = { a: "{}", b: "{}", c: "{1}", d: "{}" };
    const { text } = await run("stat -c '%n %h %a' *; rm a; echo new > e; mv e d; cat b c d", undefined, undefined, {
      files,
    });
    expect(text).toBe("a 3 600\nb 3 600\nc 1 600\nd 3 600\n{}{1}new\n");
  });

  test("runs the process in another folder, which is made when it lies in the process's own", async () => {
    const at = async (cwd: string): Promise<unknown> => {
      const { text, error } = await run("pwd; stat -c %u .", undefined, undefined, { cwd });
      return error ?? text.split("\n")[0];
    };
    expect(await at("/usr")).toBe("/usr");
    expect(await at("a/b")).toBe(path.join(folder, `p-${processes}`, "a/b"));
    expect(await at("/no such/folder")).toBe("chdir /no such/folder ENOENT");
    expect(await at("/etc/passwd")).toBe("chdir /etc/passwd ENOTDIR");
    await expect.poll(() => readdir(folder)).toEqual([]);
  });

  test("does not follow a link that the process left for its output, and does not wait for a pipe", async () => {
    const more = { outputs: [{ name: "out.txt", maxBytes: 1_000 }] };
    expect(await run("ln -s /etc/passwd out.txt", undefined, undefined, more)).toMatchObject({
      outputs: [{ trouble: "it is a link" }],
    });
    expect(await run("mkfifo out.txt", undefined, undefined, more)).toMatchObject({
      outputs: [{ trouble: "it is not a plain file of the task" }],
    });
  });

  test.runIf(program === "perl")("tells what the process used, also without control groups", async () => {
    const { usage } = await run(
      "x=$(head -c 50000000 /dev/zero | tr '\\0' x); for ((i = 0; i < 200000; i++)); do :; done",
    );
    expect(usage!.peakMemoryBytes).toBeGreaterThan(50_000_000);
    expect(usage!.cpuMs).toBeGreaterThan(100);
  });

  test.runIf(program === "perl")("ends what left the session, also without control groups", async () => {
    const { code, text } = await run("mkfifo up; (setsid bash -c 'echo $$; echo > up; exec sleep 300' &); read < up");
    expect(code).toBe(0);
    expect(isRunning(Number(text))).toBe(false);
  });

  test("tells why a process could not be started", async () => {
    const exit = await run("", undefined, undefined, { file: "/no/such/program" });
    expect(exit).toMatchObject({ code: null, error: expect.stringContaining("ENOENT") });
    const taken = await run("", undefined, undefined, { folder: path.join(folder, "no", "parent") });
    expect(taken).toMatchObject({ code: null, error: expect.stringContaining("ENOENT") });
  });

  test("leaves a folder that was there before alone", async () => {
    const exit = await run("", undefined, undefined, { folder });
    expect(exit).toMatchObject({ code: null, error: expect.stringContaining("EEXIST") });
    expect(await readdir(folder)).toEqual([]);
  });

  test("looks for the program where the process's own PATH says", async () => {
    const bin = await mkdtemp(path.join(folder, "bin-"));
    await writeFile(path.join(bin, "hello"), "#!/bin/sh\necho hello $1\n", { mode: 0o755 });
    await writeFile(path.join(bin, "closed"), "", { mode: 0o644 });
    const at = (file: string, PATH?: string) =>
      run("", undefined, undefined, { file, args: ["you"], env: PATH === undefined ? {} : { PATH } });
    expect(await at("hello", `/no/such:${bin}:/bin`)).toMatchObject({ code: 0, text: "hello you\n" });
    expect(await at("hello", "/bin")).toMatchObject({ error: expect.stringContaining("ENOENT") });
    expect(await at("closed", bin)).toMatchObject({ error: expect.stringContaining("EACCES") });
    expect(await at("true")).toMatchObject({ code: 0 });
    await rm(bin, { recursive: true });
  });

  test("survives a command that is too long for the system, and tells so", async () => {
    const beside = run("sleep 0.2; echo fine");
    expect(await run(`: ${"x".repeat(200_000)}`)).toMatchObject({
      code: null,
      error: expect.stringContaining("E2BIG"),
    });
    expect(await beside).toMatchObject({ code: 0, text: "fine\n" });
  });

  test("gives the process nothing of the worker's environment, and no core dumps", async () => {
    const { text } = await run("env | cut -d= -f1 | sort | tr '\\n' ' '; ulimit -c");
    const [names, cores] = [text.split("\n")[0]!.split(" ").slice(0, -1), text.split(" ").at(-1)];
    expect(names.filter((name) => !["_", "PWD", "SHLVL", "OLDPWD"].includes(name))).toEqual([
      "PATH",
      "SLUICE_WORK_DIR",
    ]);
    expect(cores).toBe("0\n");
  });

  test("leaves no signal ignored or blocked in the process", async () => {
    expect((await run("grep -E 'Sig(Ign|Blk)' /proc/self/status")).text).toBe(
      "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n",
    );
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

  test("carries a flood of output through to the last byte, at the pace it is taken", async () => {
    let bytes = 0;
    let under = 0;
    let most = 0;
    const request = requestOf("head -c 50000000 /dev/zero; printf end >&2");
    await spawner.run(request, new AbortController().signal, async (_, chunk) => {
      most = Math.max(most, ++under);
      await new Promise((resolve) => setImmediate(resolve));
      bytes += chunk.length;
      under--;
    });
    expect(bytes).toBe(50_000_003);
    // One of each stream; Node reads on when the process has ended, which is no more than a pipe holds.
    expect(most).toBeLessThanOrEqual(program === "perl" ? 2 : 8);
  });

  test("takes a large request, and runs many at once", async () => {
    const big = "x".repeat(5_000_000);
    const exits = await Promise.all([
      run("wc -c < big", undefined, undefined, { files: { big } }),
      ...Array.from({ length: 40 }, (_, n) => run(`echo ${n}`)),
    ]);
    expect(exits.map((exit) => exit.text.trim())).toEqual(["5000000", ...Array.from({ length: 40 }, (_, n) => `${n}`)]);
  });

  test("is ended and replaced when it stands still, and what it ran is reported and ended", async () => {
    const warned: string[] = [];
    const log = { ...SILENT, warn: (_: object, text: string) => void warned.push(text) };
    const one = createSpawner({ env: plainEnv(), program, log, pingMs: 500 });
    const pids = Promise.withResolvers<number[]>();
    const ended = one.run(requestOf("echo $PPID $$; sleep 300"), new AbortController().signal, async (_, bytes) =>
      pids.resolve(bytes.toString().trim().split(" ").map(Number)),
    );
    const [spawnerPid, taskPid] = (await pids.promise) as [number, number];
    process.kill(spawnerPid, "SIGSTOP");
    expect(await ended).toMatchObject({ error: "the spawner process was lost" });
    expect(await allEnded([spawnerPid, taskPid])).toBe(true);
    expect(warned).toEqual([expect.stringMatching(/does not answer; it is ended/)]);
    const again = await one.run(requestOf("exit 5"), new AbortController().signal, async () => undefined);
    expect(again).toMatchObject({ code: 5 });
    // One that stands still while it is to stop is ended as well.
    const parent = Promise.withResolvers<number>();
    const last = one.run(requestOf("echo $PPID; sleep 300"), new AbortController().signal, async (_, bytes) =>
      parent.resolve(Number(bytes.toString())),
    );
    process.kill(await parent.promise, "SIGSTOP");
    await one.stop();
    await last;
  });

  test("kills every process when the worker is gone, however it went", async () => {
    const child = launchSpawner(program, plainEnv()) as SpawnerProcess;
    let kind = "";
    const read = createFrameReader(FROM_SPAWNER, (one) => ({ kind } = decodeFromSpawner(one)));
    const pidFile = path.join(folder, "task-pid");
    const request = requestOf(`echo $$ > ${pidFile}; echo ready; sleep 300`);
    child.stdin.write(encodeToSpawner({ kind: "run", id: 1, ...request, outputs: [], user: undefined, procs: [] }));
    while (kind !== "data") read(((await once(child.stdout, "data")) as [Buffer])[0]);
    const pid = Number(await readFile(pidFile, "utf8"));
    expect(isRunning(pid)).toBe(true);
    // What the kernel does to the pipe when the worker dies.
    child.stdin.destroy();
    await once(child, "exit");
    expect(await allEnded([pid])).toBe(true);
    await rm(folder, { recursive: true });
  });
});

test.runIf(process.platform === "linux")(
  "a process has no file that was open where the worker was started",
  async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-spawn-"));
    const worker = fileURLToPath(new URL("./testing/killed-worker.ts", import.meta.url));
    // Node closes the first of them to what it starts, and knows nothing of the second.
    const opens = `exec 7< /dev/null 250< /dev/null; exec "$@"`;
    const started = [process.execPath, "--no-warnings", worker, folder, "ls /proc/self/fd; sleep 300"];
    const child = spawn("bash", ["-c", opens, "sh", ...started], {
      env: plainEnv(),
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    for await (const bytes of child.stdout) if ((said += String(bytes)).split("\n").length > 4) break;
    child.kill("SIGKILL");
    // The fourth is the folder that is listed.
    expect(said).toBe("0\n1\n2\n3\n");
    await rm(folder, { recursive: true, force: true });
  },
);

test.runIf(process.platform === "linux")(
  "a folder that takes long to remove is removed by a process of its own",
  async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-spawn-"));
    await writeFile(path.join(folder, "rm"), `#!/bin/sh\necho "$3" >> ${folder}/removed\nexec /bin/rm "$@"\n`, {
      mode: 0o755,
    });
    const spawner = createSpawner({ env: { PATH: `${folder}:/usr/bin:/bin` }, program: "perl", log: SILENT });
    const run = (name: string, command: string): Promise<Exit> =>
      spawner.run(
        { file: "/bin/sh", args: ["-c", command], env: {}, folder: path.join(folder, name), files: {} },
        new AbortController().signal,
        async () => undefined,
      );
    await run("small", "echo some > a; echo more > b");
    await run("large", "dd if=/dev/zero of=a bs=1 count=0 seek=100000000 2> b");
    await spawner.stop();
    expect(await readFile(path.join(folder, "removed"), "utf8")).toBe(`${folder}/large\n`);
    await rm(folder, { recursive: true });
  },
);

test("without a Perl the same work is done in Node", async () => {
  const said: string[] = [];
  const log = { ...SILENT, info: (_: object, text: string) => void said.push(text) };
  const spawner = createSpawner({ env: { PATH: "/nowhere" }, log });
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-spawn-"));
  const request = { file: "/bin/sh", args: ["-c", "exit 5"], env: {}, folder: path.join(folder, "p"), files: {} };
  expect(await spawner.run(request, new AbortController().signal, async () => undefined)).toMatchObject({ code: 5 });
  expect(said).toEqual([expect.stringContaining("no Perl")]);
  await spawner.stop();
  await rm(folder, { recursive: true });
});
