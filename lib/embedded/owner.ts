import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { EmbeddedPostgresError } from "./errors.ts";

const run = promisify(execFile);

/** The system user the server runs as; undefined: the user we are. */
export type Owner = { uid: number; gid: number } | undefined;

const USER = "postgres";

/** Postgres refuses to run as root, so root hands it to the system user `postgres`. */
export async function findOwner(say: (line: string) => void): Promise<Owner> {
  if (process.getuid?.() !== 0) return undefined;
  return (await lookUp()) ?? (await createUser(say));
}

async function lookUp(): Promise<Owner> {
  try {
    const [uid, gid] = await Promise.all([run("id", ["-u", USER]), run("id", ["-g", USER])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

async function createUser(say: (line: string) => void): Promise<Owner> {
  try {
    await run("useradd", ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", USER]);
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `Postgres cannot run as root, and the system user ${USER} could not be created with useradd: run Sluice as an ordinary user, or set DATABASE_URL`,
      { cause },
    );
  }
  say(`Created the system user ${USER}: Postgres cannot run as root`);
  return await lookUp();
}

/** Throws when a folder on the way to `target` does not let `owner` through. */
export async function assertReachable(target: string, owner: Owner, what: string): Promise<void> {
  if (owner === undefined) return;
  for (const folder of ancestors(target)) {
    const info = await stat(folder);
    const bit = info.uid === owner.uid ? 0o100 : info.gid === owner.gid ? 0o010 : 0o001;
    if ((info.mode & bit) === 0) {
      throw new EmbeddedPostgresError(
        `The system user ${USER}, which runs the embedded Postgres when Sluice is started by root, may not enter ${folder}, and ${what} is below it: move it (SLUICE_HOME sets the data folder), run as an ordinary user, or set DATABASE_URL`,
      );
    }
  }
}

function ancestors(target: string): string[] {
  const folders: string[] = [];
  for (let folder = path.resolve(target); ; folder = path.dirname(folder)) {
    folders.unshift(folder);
    if (folder === path.dirname(folder)) return folders;
  }
}
