import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { plainEnv } from "#lib/env.ts";
import type { Binaries } from "./binaries.ts";
import { EmbeddedPostgresError } from "./errors.ts";
import type { Folder } from "./folder.ts";
import type { Owner } from "./owner.ts";

const run = promisify(execFile);

/** Stops a server that a killed supervisor left on our data, and clears a pid file whose number now belongs to another program. */
export async function stopLeftRunning(binaries: Binaries, folder: Folder, owner: Owner): Promise<void> {
  const pidFile = path.join(folder.pgData, "postmaster.pid");
  const pid = Number((await readFile(pidFile, "utf8").catch(() => "")).split("\n")[0]);
  if (!Number.isInteger(pid) || pid <= 0) return;
  if (!(await isServerOf(pid, folder.pgData))) {
    await rm(pidFile, { force: true });
    return;
  }
  const stop = (mode: string) =>
    run(binaries.pgCtl, ["stop", "-D", folder.pgData, "-m", mode, "-w", "-t", "5"], {
      ...owner,
      env: plainEnv(),
      cwd: folder.root,
    });
  try {
    await stop("fast").catch(() => stop("immediate"));
  } catch (cause) {
    if (!(await isServerOf(pid, folder.pgData))) return;
    throw new EmbeddedPostgresError(`A Postgres left running on ${folder.root} (pid ${pid}) could not be stopped`, {
      cause,
    });
  }
}

async function isServerOf(pid: number, pgData: string): Promise<boolean> {
  const command = process.platform === "linux" ? await commandFromProc(pid) : await commandFromPs(pid);
  return command.includes("postgres") && command.includes(pgData);
}

async function commandFromProc(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ");
}

async function commandFromPs(pid: number): Promise<string> {
  return await run("ps", ["-ww", "-o", "args=", "-p", String(pid)]).then(
    (result) => result.stdout,
    () => "",
  );
}
