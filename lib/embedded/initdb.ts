import { execFile } from "node:child_process";
import { chown, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { plainEnv } from "#lib/env.ts";
import type { Binaries } from "./binaries.ts";
import { EmbeddedPostgresError } from "./errors.ts";
import { type Folder, makeOwnFolder } from "./folder.ts";
import type { Owner } from "./owner.ts";

const run = promisify(execFile);

export const SUPERUSER = "sluice";

/** Makes the cluster aside and moves it into place, so that an interrupted initdb never looks finished. */
export async function initCluster(
  binaries: Binaries,
  folder: Folder,
  owner: Owner,
  password: string,
  fsync: boolean,
): Promise<void> {
  const draft = path.join(folder.root, "data.new");
  const passwordFile = path.join(folder.root, "initdb-password");
  await makeOwnFolder(draft, owner);
  try {
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (owner !== undefined) await chown(passwordFile, owner.uid, owner.gid);
    await run(binaries.initdb, initdbArgs(draft, passwordFile, fsync), { ...owner, env: plainEnv(), cwd: folder.root });
    // Replaces an empty folder, and fails for any other.
    await rename(draft, folder.pgData);
  } catch (cause) {
    throw new EmbeddedPostgresError(`The database could not be created in ${folder.root}: ${lastLine(cause)}`, {
      cause,
    });
  } finally {
    await rm(passwordFile, { force: true });
    await rm(draft, { recursive: true, force: true });
  }
}

function initdbArgs(target: string, passwordFile: string, fsync: boolean): string[] {
  return [
    `--pgdata=${target}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    // The provider inside Postgres needs no locale of the machine: the same order of text everywhere.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    ...(fsync ? [] : ["--no-sync"]),
  ];
}

function lastLine(error: unknown): string {
  const stderr = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
  const lines = (stderr.trim() || (error instanceof Error ? error.message : String(error))).split("\n");
  return (lines.findLast((line) => line.includes("error:")) ?? lines.at(-1) ?? "").trim();
}
