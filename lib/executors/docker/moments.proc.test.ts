import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type EngineOrWhyNot, startContainerEngine } from "#lib/testing/container-engine.ts";
import { type Ran, runContainerTask } from "#lib/testing/container-tasks.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { type Hold, type SocketProxy, startSocketProxy } from "#lib/testing/socket-proxy.ts";
import { type Containers, createContainers } from "./containers.ts";

const started: EngineOrWhyNot = await startContainerEngine();
const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-moments-"));
afterAll(async () => {
  await started.engine?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Every call that running a container makes, in order. */
const CALLS: [name: string, call: RegExp][] = [
  ["look for the image", /^GET \/images\//],
  ["create", /^POST \/containers\/create/],
  ["copy files in", /^PUT .*\/archive/],
  ["attach", /^POST .*\/attach/],
  ["start", /^POST .*\/start/],
  ["wait", /^POST .*\/wait/],
];

const MOMENTS = CALLS.flatMap(([name, call]) =>
  (["request", "answer"] as const).map((side) => ({ moment: `${side} of ${name}`, call, side })),
);

describe.skipIf(started.whyNot !== undefined)(`whatever happens when (${started.whyNot ?? "with Podman"})`, () => {
  const engine = started.engine!;
  const settings = {
    dockerMounts: [],
    taskPids: 64,
    labels: { "sluice.worker": "w", "sluice.home": "/h" },
    log: SILENT,
  };
  let proxy: SocketProxy;
  let containers: Containers;
  /** The same, that waits for no trouble to end. */
  let impatient: Containers;
  beforeAll(async () => {
    proxy = await startSocketProxy(path.join(folder, "proxy.sock"), engine.host.slice("unix://".length));
    containers = createContainers({ ...settings, dockerHost: proxy.host });
    const patience = { awayMs: 1_000, giveUpMs: 1_000, removePausesMs: [100] };
    impatient = createContainers({ ...settings, dockerHost: proxy.host, patience });
  });
  afterAll(() => proxy.stop());
  afterEach(() => {
    expect(engine.podman("ps", "--all", "--quiet")).toBe("");
  });

  const sleeping = (signal: AbortSignal, by = containers): Promise<Ran> =>
    runContainerTask(by, { image: engine.image, network: "none", command: ["sleep", "600"] }, { signal });

  test.each(MOMENTS)("an abort at the $moment leaves no container", async (hold: Hold) => {
    const stopping = new AbortController();
    const held = proxy.hold(hold);
    const running = sleeping(stopping.signal);
    const { release } = await held;
    stopping.abort(new Error("stopped"));
    release();
    const { outcome } = await running;
    expect(outcome.kind).toBe("failed");
    // The program ran, or it did not; nothing else is said of an attempt that somebody stopped.
    expect(outcome).toMatchObject({ reason: expect.stringMatching(/^(CANCELLED|EXIT)$/) });
  });

  test.each(MOMENTS)(
    "a connection that breaks at the $moment is told as such, and leaves no container",
    async (hold) => {
      const held = proxy.hold(hold);
      const stopping = new AbortController();
      const running = sleeping(stopping.signal);
      const { cut } = await held;
      cut();
      // Whoever waits looks for himself when nobody tells him the end; the task goes on.
      const isWait = hold.call.test("POST /x/wait");
      if (isWait) stopping.abort(new Error("stopped"));
      const { outcome } = await running;
      expect(outcome).toMatchObject({ kind: "failed", reason: isWait ? "EXIT" : "DOCKER_CONNECTION" });
    },
  );

  test("an engine that starts again, and has kept the container, is waited for", async () => {
    const go = path.join(folder, "go");
    await mkdir(go);
    const waits = proxy.hold({ call: /^POST .*\/wait/, side: "request" });
    const up = Promise.withResolvers<void>();
    const running = runContainerTask(
      createContainers({ ...settings, dockerHost: proxy.host, dockerMounts: [go] }),
      {
        image: engine.image,
        network: "none",
        mounts: [{ source: go, target: "/go" }],
        command: ["sh", "-c", `echo up; until [ -e /go/on ]; do sleep 0.1; done; echo '{"n": 1}' > $SLUICE_OUTPUT`],
      },
      { onOutput: async (stream) => (stream === "stdout" ? up.resolve() : writeFile(path.join(go, "on"), "")) },
    );
    (await waits).release();
    // What the engine has not told when it ends is lost with it.
    await up.promise;
    await engine.kill();
    await engine.start();
    const { outcome, stdout, system } = await running;
    expect(outcome).toMatchObject({ kind: "success", output: { n: 1 } });
    expect(stdout).toBe("up\n");
    expect(system).toMatch(/^\[the output ends here and the container goes on/);
  });

  test("an engine that goes away is told as such, and has the container removed when it is there again", async () => {
    const task = { image: engine.image, network: "none", command: ["sleep", "600"] };
    const waits = proxy.hold({ call: /^POST .*\/wait/, side: "request" });
    const running = runContainerTask(impatient, task);
    (await waits).release();
    await engine.kill();
    const { outcome, name } = await running;
    expect(outcome).toMatchObject({ kind: "failed", reason: "DOCKER_CONNECTION" });
    await engine.start();
    expect(engine.podman("ps", "--format", "{{.Names}}")).toBe(name);
    expect((await runContainerTask(impatient, { ...task, command: ["true"] })).outcome.kind).toBe("success");
  });

  test("an engine that does not answer is not waited for, and what it makes later is removed", async () => {
    const stopping = new AbortController();
    const held = proxy.hold({ call: /^POST \/containers\/create/, side: "request" });
    const running = sleeping(stopping.signal, impatient);
    const { release } = await held;
    stopping.abort(new Error("stopped"));
    expect((await running).outcome).toMatchObject({
      reason: "CANCELLED",
      error: "the container engine did not come to an end after the task was stopped",
    });
    // Removed without being there; then it is made, and removed again.
    const removed = proxy.hold({ call: /^DELETE /, side: "answer" });
    release();
    (await removed).release();
    await engineIsIdle();
  });

  async function engineIsIdle(): Promise<void> {
    const next = await runContainerTask(containers, { image: engine.image, network: "none", command: ["true"] });
    expect(next.outcome.kind).toBe("success");
  }
});
