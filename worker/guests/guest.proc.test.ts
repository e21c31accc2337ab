import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { allEnded } from "#lib/testing/processes.ts";
import { openCgroups } from "../cgroups/open.ts";
import { NO_GROUPS } from "../cgroups/none.ts";
import { createUserPool } from "../user-pool.ts";
import { type Guest, type GuestEnd, type GuestPlace, startGuest } from "./guest.ts";
import { ownPlace } from "./place.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const isRoot = process.getuid?.() === 0;
const probe = openCgroups(`probe-guest-${process.pid}`);
probe.remove();

/** Says what it is asked for: `pid`, or the pid of a process that it starts in the way that is named. */
const CODE = `
  import { spawn } from "node:child_process";
  import { readFileSync } from "node:fs";
  import { openChildEnd } from "${ROOT}/worker/frames/child-end.ts";
  const ways = {
    pid: () => process.pid,
    // Of another session, with no variable of ours, behind a parent that is gone.
    stray: () => new Promise((done) => {
      const child = spawn("/bin/sh", ["-c", "setsid env -i sh -c 'echo $$; exec sleep 600 >/dev/null' & sleep 0.05"], { detached: true });
const said = new Promise((heard) => child.stdout.once("data", (bytes) => heard(Number(bytes))));
      child.once("exit", () => done(said));
    }),
    holds: () => spawn("sleep", ["600"], { detached: true, stdio: ["ignore", "ignore", "ignore", 3, 4] }).pid,
    spawner: () => process.ppid,
    child: () => spawn("sleep", ["600"], { stdio: "ignore" }).pid,
    says: () => new Promise((done) => spawn("echo", ["loud"], { stdio: "inherit" }).once("exit", () => done(0))),
    status: () => readFileSync("/proc/self/status", "utf8"),
    exit: () => process.exit(3),
    hang: () => { for (;;); },
  };
  const parent = openChildEnd({ Q: 100 }, async ({ id, payload }) =>
    parent.send("A", id, Buffer.from(String(await ways[payload]()))));
`;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-guest-"));
  await chmod(folder, 0o711);
  await writeFile(path.join(folder, "code.mjs"), CODE);
});
afterAll(() => rm(folder, { recursive: true }));

type Started = { guest: Guest; ask(way: string): Promise<string>; end: Promise<GuestEnd>; output: () => string };

function start(place: Partial<GuestPlace> = {}): Started {
  const end = Promise.withResolvers<GuestEnd>();
  const waiting = new Map<number, (answer: string) => void>();
  let [asked, output] = [0, ""];
  const guest = startGuest({
    module: path.join(folder, "code.mjs"),
    args: [],
    cwd: folder,
    env: plainEnv(),
    place: { ...ownPlace(folder), ...place },
    limits: { A: 10_000 },
    take: ({ id, payload }) => waiting.get(id)!(payload.toString()),
    output: async (_, bytes) => void (output += bytes.toString()),
    over: end.resolve,
  });
  const ask = (way: string): Promise<string> =>
    new Promise((resolve) => {
      waiting.set(++asked, resolve);
      guest.send("Q", asked, Buffer.from(way));
    });
  return { guest, ask, end: end.promise, output: () => output };
}

describe.each([
  ["with control groups", probe.none === undefined],
  ["without control groups", true],
])("a guest %s", (how, isHere) => {
  const cgroups = how.startsWith("without") ? NO_GROUPS : openCgroups(`guest-${process.pid}`);
  afterAll(() => cgroups.remove());

  test.runIf(isHere)("takes all that it has started with it, however it ends", async () => {
    for (const finish of [({ guest }: Started) => guest.kill(), (one: Started) => void one.ask("exit")]) {
      const one = start({ cgroups });
      const pids = [await one.ask("pid"), await one.ask("stray"), await one.ask("child")].map(Number);
      expect(one.guest.hasOffspring()).toBe(true);
      finish(one);
      expect(one.guest.isOver() || (await one.end)).toBeTruthy();
      await one.end;
      expect(await allEnded(pids)).toBe(true);
      expect((await readdir(folder)).filter((name) => name.startsWith("guest-"))).toEqual([]);
    }
  });

  test.runIf(isHere)("is seen to be alone, or to have started something", async () => {
    for (const way of ["stray", "child"]) {
      const one = start({ cgroups });
      expect(await one.ask("pid")).toBe(String(one.guest.pid()));
      expect(one.guest.hasOffspring()).toBe(false);
      await one.ask(way);
      expect(one.guest.hasOffspring()).toBe(true);
      one.guest.kill();
      await one.end;
    }
  });

  test.runIf(isHere && isRoot)("has a user to itself, gives it back, and gains no power by a program", async () => {
    const users = createUserPool([60_011, 60_012].map((id) => ({ uid: id, gid: id })));
    const [one, other] = [start({ cgroups, users }), start({ cgroups, users })];
    const third = start({ cgroups, users });
    expect(await third.end).toEqual({ how: "not started", why: "every user of SLUICE_TASK_USER is taken" });
    const status = [await one.ask("status"), await other.ask("status")];
    expect(new Set(status.map((text) => /^Uid:\s+(\d+)/m.exec(text)?.[1]))).toEqual(new Set(["60011", "60012"]));
    expect(status[0]).toMatch(/^NoNewPrivs:\s+1$/m);
    for (const { guest } of [one, other]) guest.kill();
    await Promise.all([one.end, other.end]);
    const again = start({ cgroups, users });
    expect(await again.ask("pid")).toMatch(/^\d+$/);
    again.guest.kill();
    await again.end;
  });
});

test.runIf(probe.none === undefined)(
  "a guest that takes more memory than it may is ended, and it is told",
  async () => {
    const cgroups = openCgroups(`guest-memory-${process.pid}`);
    const one = start({ cgroups, limits: { memory: 16, cpu: 0, pids: 0 } });
    expect(await one.end).toEqual({ how: "ended", why: expect.stringContaining("more than 16 MiB") });
    cgroups.remove();
  },
);

test("a guest whose spawner is killed is over, also when something that it has started holds its pipes", async () => {
  const one = start();
  const [pid, held, spawner] = [await one.ask("pid"), await one.ask("holds"), await one.ask("spawner")].map(Number);
  process.kill(spawner!, "SIGKILL");
  expect(await one.end).toEqual({ how: "ended", why: "the spawner process was lost" });
  expect(await allEnded([pid!, held!])).toBe(true);
});

test("what a guest has started may print too", async () => {
  const one = start();
  await one.ask("says");
  one.guest.kill();
  await one.end;
  expect(one.output()).toBe("loud\n");
});

test("a guest ends with the process that it is a guest of, and so does all that it has started", async () => {
  const script = `
    import { startGuest } from "${ROOT}/worker/guests/guest.ts";
    import { ownPlace } from "${ROOT}/worker/guests/place.ts";
    const guest = startGuest({
      module: "${folder}/code.mjs", args: [], cwd: "/", env: { PATH: process.env.PATH }, place: ownPlace("${folder}"),
      limits: { A: 10_000 }, take: ({ payload }) => console.log(String(payload)), over() {},
    });
    for (const [id, way] of ["pid", "stray", "child"].entries()) guest.send("Q", id, Buffer.from(way));
  `;
  // In a file: a guest is given the flags of Node that its host was given.
  await writeFile(path.join(folder, "host.mjs"), script);
  const host = spawn(process.execPath, [path.join(folder, "host.mjs")], {
    cwd: ROOT,
    env: plainEnv(),
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  for await (const bytes of host.stdout) {
    said += String(bytes);
    if (said.split("\n").length === 4) break;
  }
  host.kill("SIGKILL");
  expect(await allEnded(said.trim().split("\n").map(Number))).toBe(true);
});

test("a guest for which there is no descriptor is told as one that did not start, and throws nothing", async () => {
  const script = `
    import { openSync } from "node:fs";
    import { startGuest } from "${ROOT}/worker/guests/guest.ts";
    import { ownPlace } from "${ROOT}/worker/guests/place.ts";
    const files = [];
    try { for (;;) files.push(openSync("/dev/null")); } catch {}
    const guest = startGuest({ module: "x", args: [], cwd: "/", env: {}, place: ownPlace(), limits: {}, take() {},
      over: ({ how }) => process.stdout.write(how, () => process.exit(0)) });
    guest.send("C", 1, Buffer.alloc(0));
    guest.kill();
    if (!guest.isOver()) process.exit(3);
  `;
  const limited = `ulimit -n 64; exec "${process.execPath}" --no-warnings --input-type=module -e '${script}'`;
  const { stdout } = await promisify(execFile)("sh", ["-c", limited], { cwd: ROOT, env: plainEnv() });
  expect(stdout).toBe("not started");
});

test("a terminal's Ctrl-C ends what a command evaluates, also a file that never ends", async () => {
  const place = await mkdtemp(path.join(os.tmpdir(), "sluice-guest-"));
  const pidFile = path.join(place, "pid");
  await writeFile(
    path.join(place, "a.ts"),
    `import "sluice"; import { writeFileSync } from "node:fs"; writeFileSync("${pidFile}", String(process.pid)); for (;;);`,
  );
  const command = spawn(process.execPath, [path.join(ROOT, "cli/sluice.mjs"), "dags", "validate", place], {
    cwd: place,
    env: plainEnv(),
    detached: true,
    stdio: "ignore",
  });
  const exited = once(command, "exit");
  let pid = "";
  // The file tells nobody that it is there.
  while (pid === "") {
    await delay(20);
    pid = await readFile(pidFile, "utf8").catch(() => "");
  }
  process.kill(-command.pid!, "SIGINT");
  await exited;
  expect(await allEnded([Number(pid)])).toBe(true);
  await rm(place, { recursive: true });
});
