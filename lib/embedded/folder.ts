import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { EmbeddedPostgresError } from "./errors.ts";
import { assertReachable, type Owner } from "./owner.ts";

/** What lies in the folder of one embedded Postgres. */
export type Folder = { root: string; pgData: string; passwordFile: string; portFile: string };

/** Makes the folder and proves that it can be written and that the server's user may enter it. */
export async function prepareFolder(dataDir: string, owner: Owner): Promise<Folder> {
  const root = path.resolve(dataDir);
  try {
    await mkdir(root, { recursive: true });
    // The server's user passes through; nobody but us lists it.
    await chmod(root, owner === undefined ? 0o700 : 0o711);
    const probe = path.join(root, `.probe-${process.pid}`);
    await writeFile(probe, "");
    await rm(probe);
  } catch (cause) {
    throw new EmbeddedPostgresError(`The database folder ${root} cannot be written (${codeOf(cause)})`, { cause });
  }
  await assertReachable(root, owner, "the database folder");
  return folderAt(root);
}

function folderAt(dataDir: string): Folder {
  const root = path.resolve(dataDir);
  return {
    root,
    pgData: path.join(root, "data"),
    passwordFile: path.join(root, "password"),
    portFile: path.join(root, "port"),
  };
}

/** Throws when the data that was there is not: an empty database in its place would look as if all had been deleted. */
export async function assertCluster(dataDir: string): Promise<void> {
  const { pgData } = folderAt(dataDir);
  if (await hasCluster(folderAt(dataDir))) return;
  throw new EmbeddedPostgresError(
    `The data of the running database is gone from ${pgData}: bring it back (from a backup), or stop Sluice and start it anew with an empty database`,
  );
}

/**
 * True once initdb has finished here. Throws for a folder that holds anything else than a finished database: what somebody has moved or
 * damaged is not to be replaced by an empty one.
 */
export async function hasCluster(folder: Folder): Promise<boolean> {
  const names = await readdir(folder.pgData).catch((cause: unknown): string[] => {
    if (codeOf(cause) === "ENOENT") return [];
    throw new EmbeddedPostgresError(`The database in ${folder.pgData} cannot be looked at (${codeOf(cause)})`, {
      cause,
    });
  });
  if (names.length === 0) return false;
  if (names.includes("PG_VERSION")) return true;
  throw new EmbeddedPostgresError(
    `${folder.pgData} holds files and no PG_VERSION, so it is no whole database: restore it, or remove the folder to start with an empty database`,
  );
}

/** The superuser's password; made once, readable by us alone. */
export async function readOrMakePassword(folder: Folder): Promise<string> {
  const kept = await readText(folder.passwordFile);
  if (kept !== undefined && kept !== "") return kept;
  if (await hasCluster(folder)) {
    throw new EmbeddedPostgresError(
      `The database in ${folder.root} exists but its password file is gone: restore ${folder.passwordFile}, or remove the folder to start with an empty database`,
    );
  }
  const password = randomBytes(24).toString("base64url");
  await writeWhole(folder.passwordFile, password);
  return password;
}

/** The port of the last start, when one is kept. */
export async function readPort(folder: Folder): Promise<number | undefined> {
  const port = Number(await readText(folder.portFile));
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

/** Keeps the port for the next start. */
export async function keepPort(folder: Folder, port: number): Promise<void> {
  // A full disk does not hinder the restart of a server that needs no new file either.
  if ((await readPort(folder)) === port) return;
  await writeWhole(folder.portFile, String(port));
}

/** A file only its owner reads, replaced in one move so that a crash leaves the old or the new text. */
async function writeWhole(file: string, text: string): Promise<void> {
  const draft = `${file}.${process.pid}.tmp`;
  await writeFile(draft, text, { mode: 0o600 });
  await rename(draft, file);
}

/** An empty folder of the server's user. */
export async function makeOwnFolder(folder: string, owner: Owner): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o700 });
  if (owner !== undefined) await chown(folder, owner.uid, owner.gid);
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new EmbeddedPostgresError(`${file} cannot be read (${codeOf(error)})`, { cause: error });
  }
}

/** The system's name for what went wrong. */
export function codeOf(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return error instanceof Error ? error.message : String(error);
}
