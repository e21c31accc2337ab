import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { identify, isAlive, type ProcessIdentity, readIdentity } from "./process-identity.ts";

const TERM_GRACE_MS = 5_000;
const KILL_GRACE_MS = 2_000;
const POLL_MS = 50;

/** Which children live, on disk: the next supervisor finds them when this one is killed. */
export type ChildRecords = { add(name: string, pid: number): Promise<void>; remove(name: string): Promise<void> };

/** Records below `folder`, one file per child. */
export async function openChildRecords(folder: string): Promise<ChildRecords> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const fileOf = (name: string) => path.join(folder, `${name}.json`);
  return {
    add: async (name, pid) => {
      const identity = await identify(pid);
      if (identity !== undefined) await writeFile(fileOf(name), JSON.stringify(identity), { mode: 0o600 });
    },
    remove: (name) => rm(fileOf(name), { force: true }),
  };
}

/** Ends the recorded children of a dead supervisor; returns the names of those that still lived. */
export async function endLeftovers(folder: string): Promise<string[]> {
  const files = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".json"));
  const ended = await Promise.all(files.map((file) => endLeftover(path.join(folder, file))));
  return files.filter((_, index) => ended[index]).map((file) => path.basename(file, ".json"));
}

async function endLeftover(file: string): Promise<boolean> {
  const identity = await readIdentity(file);
  const lives = identity !== undefined && (await isAlive(identity));
  if (lives && !(await signalAndWait(identity, "SIGTERM", TERM_GRACE_MS))) {
    await signalAndWait(identity, "SIGKILL", KILL_GRACE_MS);
  }
  await rm(file, { force: true });
  return lives;
}

async function signalAndWait(identity: ProcessIdentity, signal: NodeJS.Signals, graceMs: number): Promise<boolean> {
  try {
    process.kill(identity.pid, signal);
  } catch {
    return !(await isAlive(identity));
  }
  const end = performance.now() + graceMs;
  // Another's child: the system tells only its parent when it ends.
  while (await isAlive(identity)) {
    if (performance.now() > end) return false;
    await delay(POLL_MS);
  }
  return true;
}
