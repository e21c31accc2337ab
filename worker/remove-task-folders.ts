import { execFile } from "node:child_process";
import { lstat } from "node:fs/promises";
import { promisify } from "node:util";
import { plainEnv } from "#lib/env.ts";

const run = promisify(execFile);

/**
 * Removes folders of attempts, whoever they belong to. A process of their owner may still live and swap a folder for a
 * link while they are walked; so their owner removes first, who can reach nothing that is not its own, and then this
 * process, by a program that follows no link. Folders that are not there are no error.
 */
export async function removeTaskFolders(folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    const found = await lstat(folder).catch(() => undefined);
    if (found === undefined) continue;
    const isOthers = process.getuid?.() === 0 && found.uid !== 0;
    if (isOthers) await rm(folder, { uid: found.uid, gid: found.gid }).catch(() => undefined);
    await rm(folder, {});
  }
}

async function rm(folder: string, as: { uid?: number; gid?: number }): Promise<void> {
  // Its owner may look into it, so it must not hold what this process knows.
  await run("rm", ["-rf", "--", folder], { ...as, env: plainEnv() });
}
