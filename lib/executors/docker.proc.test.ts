import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { type EngineOrWhyNot, startContainerEngine, type TestEngine } from "#lib/testing/container-engine.ts";
import { type Ran, runContainerTask } from "#lib/testing/container-tasks.ts";
import { startImageRegistry } from "#lib/testing/image-registry.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { type Containers, createContainers } from "./docker/containers.ts";

const started: EngineOrWhyNot = await startContainerEngine();
const folder = await realpath(await mkdtemp(path.join(os.tmpdir(), "sluice-docker-")));
afterAll(async () => {
  await started.engine?.stop();
  await rm(folder, { recursive: true, force: true });
});

function containersOf(engine: TestEngine, given: { host?: string; mounts?: string[] } = {}): Containers {
  return createContainers({
    dockerHost: given.host ?? engine.host,
    dockerMounts: given.mounts ?? [],
    taskPids: 64,
    labels: { "sluice.worker": "w", "sluice.home": "/h" },
    log: SILENT,
  });
}

describe.skipIf(started.whyNot !== undefined)(`a container (${started.whyNot ?? "with Podman"})`, () => {
  const engine = started.engine!;
  afterEach(() => {
    expect(engine.podman("ps", "--all", "--quiet")).toBe("");
  });

  const run = (
    config: object,
    given: Parameters<typeof runContainerTask>[2] & { mounts?: string[] } = {},
  ): Promise<Ran> =>
    runContainerTask(
      containersOf(engine, given.mounts === undefined ? {} : { mounts: given.mounts }),
      { image: engine.image, network: "none", ...config },
      given,
    );
  const sh = (script: string, given: Parameters<typeof run>[1] = {}, config: object = {}): Promise<Ran> =>
    run({ command: ["sh", "-c", script], ...config }, given);

  test("ends with its program: 0 is success, anything else fails with its code, or skips", async () => {
    expect((await sh("true")).outcome).toMatchObject({ kind: "success", output: undefined, exitCode: 0 });
    expect((await sh("exit 42")).outcome).toMatchObject({
      kind: "failed",
      reason: "EXIT",
      exitCode: 42,
      error: "the container ended with exit code 42",
    });
    expect((await sh("exit 99", {}, { skipOn: [99] })).outcome).toMatchObject({ kind: "skipped", exitCode: 99 });
  });

  test("tells its two outputs apart, also without a line end and byte by byte", async () => {
    const { stdout, stderr } = await sh(`echo out; echo err >&2; printf '\\001\\377\\000'; printf 'no end' >&2`);
    expect(stdout).toBe(Buffer.from("out\n\x01\xff\x00", "latin1").toString());
    expect(stderr).toBe("err\nno end");
  });

  test("finds what its task is given in files and variables, and leaves what it gives", async () => {
    const { outcome, stdout } = await sh(
      `cat "$SLUICE_INPUTS" "$SLUICE_XCOMS" "$SLUICE_CONF" "$SLUICE_PARAMS"
       echo " $SLUICE_DAG_ID $SLUICE_RUN_ID $SLUICE_TASK_ID $SLUICE_ATTEMPT $GREETING"
       echo '{"a":[1,2]}' > "$SLUICE_OUTPUT"; echo '{"rows": 7}' > "$SLUICE_XCOM_PUSH"`,
      { env: { GREETING: "$(touch hacked) ü" } },
      { user: "nobody" },
    );
    expect(stdout).toContain(
      '{"parent":{"rows":3}}{"parent":{"file":"a.csv"}}{"it\'s":"$(touch hacked)"}{"day":"monday"}',
    );
    expect(stdout).toContain(" d 1 t 2 $(touch hacked) ü\n");
    expect(outcome).toMatchObject({ kind: "success", output: { a: [1, 2] }, pushed: { rows: 7 } });
  });

  test("hands back no link, no folder and nothing too large", async () => {
    expect((await sh(`ln -s /etc/passwd "$SLUICE_OUTPUT"`)).outcome).toMatchObject({
      reason: "RESULT_UNSTORABLE",
      error: "$SLUICE_OUTPUT cannot be read: it is a link",
    });
    expect((await sh(`mkdir "$SLUICE_OUTPUT"`)).outcome).toMatchObject({
      error: "$SLUICE_OUTPUT cannot be read: it is not a plain file",
    });
    expect((await sh(`mkfifo "$SLUICE_OUTPUT"`)).outcome).toMatchObject({
      error: "$SLUICE_OUTPUT cannot be read: it is not a plain file",
    });
    expect((await sh(`head -c 2000000 /dev/zero > "$SLUICE_OUTPUT"`)).outcome).toMatchObject({
      reason: "RESULT_TOO_LARGE",
      error: "$SLUICE_OUTPUT has 2000000 bytes; at most 1048576 are kept",
    });
    expect((await sh(`echo 'not json' > "$SLUICE_OUTPUT"`)).outcome).toMatchObject({ reason: "RESULT_UNSTORABLE" });
    const whole = `printf '"%s"' "$(head -c 1048574 /dev/zero | tr '\\0' x)" > "$SLUICE_OUTPUT"`;
    expect((await sh(whole)).outcome).toMatchObject({ kind: "success", output: "x".repeat(1_048_574) });
  });

  test("runs as its task says: program, user, folder", async () => {
    const { stdout } = await run({ entrypoint: ["sh", "-c"], command: ["id -u; pwd"], user: "65534", workdir: "/etc" });
    expect(stdout).toBe("65534\n/etc\n");
  });

  test("has none of root's powers but those that were asked for, and gets no new ones", async () => {
    const powers = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status";
    const none = "0000000000000000";
    expect((await sh(powers)).stdout).toBe(`CapEff:\t${none}\nCapBnd:\t${none}\nNoNewPrivs:\t1\n`);
    const { stdout } = await sh(`${powers}; chown 1 /tmp && echo done`, {}, { capabilities: ["CHOWN"] });
    expect(stdout).toBe("CapEff:\t0000000000000001\nCapBnd:\t0000000000000001\nNoNewPrivs:\t1\ndone\n");
  });

  test("sees only the folders that the worker allows, and writes only where it may", async () => {
    const [from, to] = [path.join(folder, "in"), path.join(folder, "out")];
    for (const one of [from, to]) await mkdir(one, { recursive: true });
    await writeFile(path.join(from, "a"), "from outside\n");
    await chmod(to, 0o777);
    const mounts = [
      { source: from, target: "/in" },
      { source: to, target: "/out", readOnly: false },
    ];
    const script = "cat /in/a; touch /in/b 2>/dev/null || echo read only; echo hello > /out/c";
    const { stdout, outcome } = await sh(script, { mounts: [from, `${to}:rw`] }, { mounts });
    expect(outcome.kind).toBe("success");
    expect(stdout).toBe("from outside\nread only\n");
    expect(await readFile(path.join(to, "c"), "utf8")).toBe("hello\n");
    expect((await sh(script, { mounts: [from] }, { mounts })).outcome).toMatchObject({
      reason: "MOUNT_REFUSED",
      error: `the folder ${to} is not mounted: this worker does not allow it. SLUICE_DOCKER_MOUNTS allows ${from} on this worker`,
    });
  });

  test("that takes more memory than it asked for is killed, and the verdict says so", async () => {
    const script = `x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo \${#x}`;
    const { outcome } = await sh(script, { limits: { memory: 64, cpu: 0 } });
    expect(outcome).toMatchObject({ kind: "failed", reason: "OOM", error: "killed at 64 MiB", exitCode: 137 });
  });

  test("gets no more processors and processes than it may have", async () => {
    const limits =
      "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max";
    const { stdout } = await sh(limits, { limits: { memory: 0, cpu: 500 } });
    expect(stdout).toMatch(/^64\n50000( 100000)?\n$/);
  });

  test("waits with its output while nobody takes it", async () => {
    const gate = Promise.withResolvers<void>();
    const first = Promise.withResolvers<void>();
    let bytes = 0;
    const running = sh("head -c 50000000 /dev/zero; echo done >&2", {
      onOutput: async (stream, piece) => {
        if (stream === "stdout") bytes += piece.length;
        first.resolve();
        await gate.promise;
      },
    });
    await first.promise;
    const held = bytes;
    gate.resolve();
    const { outcome, stderr } = await running;
    expect(held).toBeLessThan(1_000_000);
    expect(outcome.kind).toBe("success");
    expect(bytes).toBe(50_000_000);
    expect(stderr).toBe("done\n");
  });

  test("is stopped by an abort, and killed when it does not stop", async () => {
    const stop = async (script: string): Promise<{ tookMs: number; ran: Ran }> => {
      const stopping = new AbortController();
      let abortedAt = 0;
      const onOutput = async (): Promise<void> => {
        abortedAt = performance.now();
        stopping.abort(new Error("stopped"));
      };
      const ran = await sh(script, { signal: stopping.signal, onOutput });
      return { tookMs: performance.now() - abortedAt, ran };
    };
    const kind = await stop(`trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done`);
    expect(kind.ran.outcome).toMatchObject({ kind: "failed", exitCode: 5 });
    expect(kind.ran.stdout).toBe("up\nbye\n");
    const stubborn = await stop(`trap '' TERM; echo up; while :; do sleep 0.1; done`);
    expect(stubborn.ran.outcome).toMatchObject({ kind: "failed", reason: "EXIT", exitCode: 137 });
    expect(stubborn.tookMs).toBeGreaterThan(1_900);
    expect(stubborn.tookMs).toBeLessThan(6_000);
  });

  test("tells what is not there: a program, a user, an image, a network, an engine", async () => {
    expect((await run({ command: ["nope"] })).outcome).toMatchObject({
      reason: "SPAWN_ERROR",
      error: expect.stringMatching(/^the image sluice-test:latest has no program nope: /),
    });
    expect((await run({ command: ["/bin/nope", "x"] })).outcome).toMatchObject({
      error: expect.stringMatching(/^the image sluice-test:latest has no program \/bin\/nope: /),
    });
    expect((await run({ command: ["true"], user: "alice" })).outcome).toMatchObject({
      kind: "failed",
      error: expect.stringContaining("alice"),
    });
    expect((await run({ image: "nope:1", pull: "never" })).outcome).toMatchObject({
      reason: "IMAGE_MISSING",
      error: "the container engine does not have the image nope:1, and pull: never keeps it from being fetched",
    });
    expect((await run({ image: "../containers/x" })).outcome).toMatchObject({
      reason: "IMAGE_MISSING",
      error: '"../containers/x" is no name of an image, like alpine:3.22',
    });
    expect((await run({ command: ["true"], network: "nope" })).outcome).toMatchObject({
      kind: "failed",
      error: expect.stringContaining("nope"),
    });
    for (const host of [`unix://${folder}/nothing.sock`, "tcp://127.0.0.1:1"]) {
      const { outcome } = await runContainerTask(containersOf(engine, { host }), { image: engine.image });
      expect(outcome).toMatchObject({
        reason: "DOCKER_CONNECTION",
        error: expect.stringMatching(`^the container engine at ${host} could not be reached: connect E`),
      });
    }
  });

  test("fetches its image as the policy says, with a password where one is asked for", async () => {
    const registry = await startImageRegistry(engine.layer, "puller:a-password");
    const image = `${registry.address}/team/tool`;
    const auth = { username: "puller", password: "a-password" };
    const fetching = (config: object, signal?: AbortSignal): Promise<Ran> =>
      run({ image, ...config }, signal === undefined ? {} : { signal });
    try {
      expect((await fetching({ auth, pull: "never" })).outcome).toMatchObject({ reason: "IMAGE_MISSING" });
      expect((await fetching({})).outcome).toMatchObject({
        reason: "IMAGE_PULL",
        error: expect.stringMatching(/^the image 127.0.0.1:\d+\/team\/tool could not be fetched: /),
      });
      expect((await fetching({ auth: { ...auth, password: "wrong" } })).outcome).toMatchObject({
        reason: "IMAGE_PULL",
      });
      expect(registry.asked).toBe(0);
      const stopping = new AbortController();
      const stalled = registry.stall().then(() => stopping.abort(new Error("stopped")));
      expect((await fetching({ auth }, stopping.signal)).outcome).toMatchObject({ reason: "CANCELLED" });
      await stalled;
      const fetched = await fetching({ auth });
      expect(fetched).toMatchObject({ outcome: { kind: "success" }, stdout: "from the image: its own words\n" });
      expect(fetched.system).toMatch(/^fetched the image 127.0.0.1:\d+\/team\/tool in \d+ ms\n$/);
      const before = registry.asked;
      expect(await fetching({ command: ["mine"] })).toMatchObject({ stdout: "from the image: mine\n", system: "" });
      expect(registry.asked).toBe(before);
      expect((await fetching({ auth, pull: "always" })).outcome.kind).toBe("success");
      expect(registry.asked).toBeGreaterThan(before);
      await registry.stop();
      expect((await fetching({ auth, pull: "always" })).outcome).toMatchObject({ reason: "IMAGE_PULL" });
    } finally {
      await registry.stop();
    }
  });
});

test("a worker without an engine says what it would take", async () => {
  const containers = createContainers({
    dockerHost: undefined,
    dockerMounts: [],
    taskPids: 64,
    labels: {},
    log: SILENT,
  });
  await containers.sweep();
  const hasEngine = (await readdir("/var/run")).includes("docker.sock");
  const { outcome } = await runContainerTask(containers, { image: "x", pull: "never" });
  expect(outcome).toMatchObject(
    hasEngine
      ? { kind: "failed" }
      : {
          reason: "DOCKER_CONNECTION",
          error:
            "this worker has no container engine: /var/run/docker.sock is not there, and SLUICE_DOCKER_HOST names no other",
        },
  );
});
