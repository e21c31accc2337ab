import { execFile } from "node:child_process";
import { readdir, readFile, readlink, realpath, rm } from "node:fs/promises";
import { promisify } from "node:util";
import { plainEnv } from "#lib/env.ts";
import type { Binaries } from "./binaries.ts";
import { EmbeddedPostgresError } from "./errors.ts";
import type { Folder } from "./folder.ts";
import type { Owner } from "./owner.ts";
import { pidFileOf, readPidFile } from "./pid-file.ts";

const run = promisify(execFile);

/**
 * Stops a server that a killed supervisor or somebody else has left running on our data, and clears a pid file whose number now
 * belongs to another program.
 */
export async function stopLeftRunning(
  binaries: Binaries,
  folder: Folder,
  owner: Owner,
  say: (line: string) => void,
): Promise<void> {
  const file = await readPidFile(folder.pgData);
  if (typeof file !== "object") return;
  const { pid } = file;
  if (!(await isServerOf(pid, folder.pgData))) {
    await rm(pidFileOf(folder.pgData), { force: true });
    return;
  }
  say(`Stopping a Postgres (pid ${pid}) that was left running on ${folder.root}`);
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

/**
 * Kills what a server that was killed has left of itself. Each of its sessions ends as soon as it waits for something, but one that
 * computes keeps the shared memory, and so the next server from starting, for as long as it does. Only where there is a /proc.
 */
export async function endOrphans(folder: Folder): Promise<void> {
  const pgData = await realpath(folder.pgData);
  for (const entry of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(entry)) continue;
    const [cwd, program] = await Promise.all(["cwd", "exe"].map((name) => linkOf(`/proc/${entry}/${name}`)));
    if (cwd !== pgData || !/\/postgres(?: \(deleted\))?$/.test(program ?? "")) continue;
    try {
      process.kill(Number(entry), "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

async function linkOf(link: string): Promise<string | undefined> {
  return await readlink(link).catch(() => undefined);
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
