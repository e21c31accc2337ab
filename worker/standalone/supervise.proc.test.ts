import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type SupervisedChild, superviseChild } from "./child.ts";
import { endLeftovers, openChildRecords } from "./leftovers.ts";
import { lockHome } from "./lock.ts";
import { assertPortFree } from "./port-check.ts";
import { identify, isAlive, startTimeOf } from "./process-identity.ts";

const TESTING = path.join(import.meta.dirname, "testing");

let folder: string;
let children: SupervisedChild[];
let output: EventEmitter;
let said: string[];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "sluice-run-"));
  children = [];
  said = [];
  output = new EventEmitter();
});

afterEach(async () => {
  await Promise.all(children.map((child) => child.stop(500)));
  await rm(folder, { recursive: true, force: true });
});

async function supervise(behaviour: string, name = behaviour): Promise<SupervisedChild> {
  const child = superviseChild(
    { name, modulePath: path.join(TESTING, "fake-child.ts"), args: [behaviour], env: { NODE_ENV: "production" } },
    {
      onLine: (who, line) => output.emit(`${who}: ${line.replace(/ \d+$/, "")}`),
      say: (line) => said.push(line),
      records: await openChildRecords(path.join(folder, "children")),
    },
  );
  children.push(child);
  return child;
}

test("a child that is killed is started again at once, and after a wait when that happens again; each is one line", async () => {
  const child = await supervise("steady");
  await child.ready;
  const first = child.pid();
  const again = once(output, "steady: up");
  process.kill(first ?? 0, "SIGKILL");
  await again;
  expect(child.pid()).not.toBe(first);
  expect(said).toEqual(["steady ended (SIGKILL); starting it again"]);
  const oncemore = once(output, "steady: up");
  process.kill(child.pid() ?? 0, "SIGKILL");
  await oncemore;
  expect(said[1]).toBe(
    "steady ended (SIGKILL), 2 times in a row before it had run for 30 s; starting it again in 0.2 s",
  );
});

test("a child that never gets ready fails the start", async () => {
  const child = await supervise("broken");
  await expect(child.ready).rejects.toThrow("broken could not start (exit code 3)");
});

test("a stopped child gets SIGTERM, is not started again, and leaves no record", async () => {
  const child = await supervise("steady");
  await child.ready;
  const told = once(output, "steady: told to stop");
  await Promise.all([child.stop(5_000), told]);
  expect(child.pid()).toBeUndefined();
  expect(said).toEqual([]);
  expect(await readdir(path.join(folder, "children"))).toEqual([]);
});

test("a child that does not stop is killed when its time is over", async () => {
  const child = await supervise("stubborn");
  await child.ready;
  const pid = child.pid() ?? 0;
  await child.stop(100);
  expect(await startTimeOf(pid)).toBeUndefined();
});

test("the children of a killed supervisor are ended by the next one, which takes the home over", async () => {
  const owner = spawn(process.execPath, [path.join(TESTING, "fake-supervisor.ts"), folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface({ input: owner.stdout }), "line")) as [string];
  const left = await identify(Number(line));
  await expect(lockHome(folder, folder)).rejects.toThrow(`Another Sluice (pid ${owner.pid})`);
  owner.kill("SIGKILL");
  await once(owner, "exit");
  if (left === undefined) throw new Error("the child is not there");
  expect(await isAlive(left)).toBe(true);
  const unlock = await lockHome(folder, folder);
  expect(await endLeftovers(path.join(folder, "children"))).toEqual(["worker"]);
  expect(await isAlive(left)).toBe(false);
  await unlock();
});

test("a number that another program has now is left alone", async () => {
  await openChildRecords(path.join(folder, "children"));
  await writeFile(
    path.join(folder, "children", "web.json"),
    JSON.stringify({ pid: process.pid, startedAt: "long ago" }),
  );
  expect(await endLeftovers(path.join(folder, "children"))).toEqual([]);
});

test("a dead owner loses the home, a live one keeps it", async () => {
  await writeFile(path.join(folder, "supervisor.json"), JSON.stringify({ pid: 2 ** 22 + 1, startedAt: "long ago" }));
  const unlock = await lockHome(folder, folder);
  await expect(lockHome(folder, folder)).rejects.toThrow("Another Sluice");
  await unlock();
});

test("a port in use is one line", async () => {
  const { createServer } = await import("node:net");
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await expect(assertPortFree("127.0.0.1", port)).rejects.toThrow(`Port ${port} on 127.0.0.1 is in use`);
  server.close();
});

test("a process is known by its start: the same when asked twice, none when it is gone", async () => {
  const own = await startTimeOf(process.pid);
  expect(own).toBeDefined();
  expect(await startTimeOf(process.pid)).toBe(own);
  const gone = spawn(process.execPath, ["-e", ""]);
  await once(gone, "exit");
  expect(await startTimeOf(gone.pid ?? 0)).toBeUndefined();
});
