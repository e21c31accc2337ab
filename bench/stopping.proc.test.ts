import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { allEnded } from "#lib/testing/processes.ts";
import { descendants } from "./stopping.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** A process that hangs is killed after this, at the latest; what computes ends at its next look. */
const LATEST_MS = 120_000;
const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));

let temporary: string;

beforeEach(async () => {
  temporary = await mkdtemp(path.join(os.tmpdir(), "sluice-stopping-"));
  // Another user runs Postgres, below this folder.
  await chmod(temporary, 0o711);
});

afterEach(() => rm(temporary, { recursive: true, force: true }));

describe.skipIf(process.platform !== "linux")("a bench that is stopped leaves nothing running", () => {
  test("by Ctrl-C, which reaches its workers as well", async () => {
    const bench = start();
    await measures(bench);
    await stopped(bench, () => process.kill(-bench.pid!, "SIGINT"), 130);
  });

  test("by SIGTERM, which reaches only the bench", async () => {
    const bench = start();
    await measures(bench);
    await stopped(bench, () => bench.kill("SIGTERM"), 143);
  });

  test("by SIGTERM to npm, which passes it on to what it has started", async () => {
    const npm = start("npm", ["run", "--silent", "bench", "--", "B2", "--json"]);
    await measures(npm);
    await ends(npm, () => npm.kill("SIGTERM"));
  });

  test("by SIGKILL, but for its files", async () => {
    const bench = start();
    await measures(bench);
    const pids = await descendants(bench.pid!);
    bench.kill("SIGKILL");
    expect(await allEnded(pids, LATEST_MS)).toBe(true);
  });

  test("while it starts", async () => {
    const bench = start();
    while ((await readdir(temporary)).length === 0) await new Promise((resolve) => setImmediate(resolve));
    await stopped(bench, () => bench.kill("SIGTERM"), 143);
  });
});

/** A process group of its own, as a terminal gives one to a command. */
function start(command = process.execPath, args = [MAIN, "B2", "--json"]): ChildProcess {
  const env = { ...plainEnv(), TMPDIR: temporary };
  return spawn(command, args, { env, cwd: ROOT, detached: true, stdio: ["ignore", "pipe", "inherit"] });
}

/** The first figure is of the limits: the whole system is there by then, and the next measure goes on. */
async function measures(bench: ChildProcess): Promise<void> {
  await once(bench.stdout!, "data");
}

async function stopped(bench: ChildProcess, stop: () => void, code: number): Promise<void> {
  expect(await ends(bench, stop)).toEqual([code, null]);
}

/** How it exits; nothing that it has started is left then, nor a file. */
async function ends(bench: ChildProcess, stop: () => void): Promise<unknown[]> {
  const pids = await descendants(bench.pid!);
  const exited = once(bench, "exit");
  stop();
  const exit: unknown[] = await exited;
  expect(await allEnded(pids)).toBe(true);
  // npm keeps what it has compiled there.
  expect((await readdir(temporary)).filter((name) => name !== "node-compile-cache")).toEqual([]);
  return exit;
}
