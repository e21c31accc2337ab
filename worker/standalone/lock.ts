import { link, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { identify, isAlive, readIdentity } from "./process-identity.ts";
import { StartupError } from "./startup-error.ts";

const ATTEMPTS = 5;

/** Makes this process the only supervisor of `home`; returns how to give that up. */
export async function lockHome(home: string, runFolder: string): Promise<() => Promise<void>> {
  const file = path.join(runFolder, "supervisor.json");
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, JSON.stringify(await identify(process.pid)), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      if (await takes(draft, file)) return () => rm(file, { force: true });
      const owner = await readIdentity(file);
      if (owner !== undefined && (await isAlive(owner))) {
        throw new StartupError(
          `Another Sluice (pid ${owner.pid}) runs on ${home}: stop it, or set SLUICE_HOME to another folder`,
        );
      }
      await setAside(file, draft);
    }
    throw new StartupError(`${home} is being started by another Sluice`);
  } finally {
    await rm(draft, { force: true });
  }
}

// A link appears whole or not at all, and fails when the name is taken.
async function takes(draft: string, file: string): Promise<boolean> {
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

// Two starters may find the same dead owner; the slower one could move the faster one's lock and puts it back.
async function setAside(file: string, draft: string): Promise<void> {
  const aside = `${draft}.stale`;
  await rename(file, aside).catch(() => undefined);
  const moved = await readIdentity(aside);
  if (moved !== undefined && (await isAlive(moved))) await link(aside, file).catch(() => undefined);
  await rm(aside, { force: true });
}
