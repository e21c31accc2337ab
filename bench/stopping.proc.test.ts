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

  test("while it starts", async () => {
    const bench = start();
    while ((await readdir(temporary)).length === 0) await new Promise((resolve) => setImmediate(resolve));
    await stopped(bench, () => bench.kill("SIGTERM"), 143);
  });
});

/** A process group of its own, as a terminal gives one to a command. */
function start(): ChildProcess {
  const env = { ...plainEnv(), TMPDIR: temporary };
  return spawn(process.execPath, [MAIN, "B2", "--json"], { env, detached: true, stdio: ["ignore", "pipe", "inherit"] });
}

/** The first figure is of the limits: the whole system is there by then, and the next measure goes on. */
async function measures(bench: ChildProcess): Promise<void> {
  await once(bench.stdout!, "data");
}

async function stopped(bench: ChildProcess, stop: () => void, code: number): Promise<void> {
  const pids = await descendants(bench.pid!);
  const exited = once(bench, "exit");
  stop();
  expect(await exited).toEqual([code, null]);
  expect(await allEnded(pids)).toBe(true);
  expect(await readdir(temporary)).toEqual([]);
}
