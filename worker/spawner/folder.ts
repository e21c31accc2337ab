import { spawn } from "node:child_process";
import {
  chownSync,
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
} from "node:fs";
import { readdirSync, readSync, rmdirSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { CollectedFile, ProcessUser } from "./protocol.ts";

/** More than this, or anything but plain files, is removed by `rm`. */
const PLAIN_FOLDER = 64;

/** A process's own folder with `files` in it. `onMade` tells that it is ours to remove, also when the rest fails. */
export function makeFolder(
  folder: string,
  files: Readonly<Record<string, string>>,
  user: ProcessUser | undefined,
  onMade: () => void,
): void {
  mkdirSync(folder, { mode: 0o700 });
  onMade();
  // Nobody else can enter the folder before the last line, so no name in it is anybody's link.
  const made = new Map<string, string>();
  for (const [name, text] of Object.entries(files)) {
    const own = path.join(folder, name);
    if (linked(made.get(text), own)) continue;
    made.set(text, own);
    const file = openSync(own, "wx", 0o600);
    try {
      writeFileSync(file, text);
      if (user) fchownSync(file, user.uid, user.gid);
    } finally {
      closeSync(file);
    }
  }
  if (user) chownSync(folder, user.uid, user.gid);
}

/** Files of one text are one file with several names, where the file system has such. */
function linked(same: string | undefined, name: string): boolean {
  if (same === undefined) return false;
  try {
    linkSync(same, name);
    return true;
  } catch {
    return false;
  }
}

/** Where the process runs: a folder below its own is made, as its user's; any other must be there. */
export function workingFolder(folder: string, cwd: string | undefined, user: ProcessUser | undefined): string {
  if (cwd === undefined) return folder;
  try {
    if (path.isAbsolute(cwd)) return statSync(path.join(cwd, ".")).isDirectory() ? cwd : notAFolder(cwd);
    let at = folder;
    for (const name of path
      .normalize(cwd)
      .split("/")
      .filter((part) => part !== "" && part !== ".")) {
      if (name === "..") return notAFolder(cwd);
      at = path.join(at, name);
      mkdirSync(at);
      if (user) chownSync(at, user.uid, user.gid);
    }
    return at;
  } catch (error) {
    // A start that fails for its folder looks to Node like one that found no program.
    throw new Error(`chdir ${cwd} ${codeOf(error)}`, { cause: error });
  }
}

function notAFolder(cwd: string): never {
  throw Object.assign(new Error(cwd), { code: "ENOTDIR" });
}

/** A file of the folder, if it is the task's own and a plain one: a link would show what only this process may read. */
export function collectFile(
  folder: string,
  name: string,
  maxBytes: number,
  user: ProcessUser | undefined,
): CollectedFile {
  const bytes = Buffer.alloc(0);
  let file: number;
  try {
    file = openSync(path.join(folder, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") return { bytes };
    return { bytes, trouble: code === "ELOOP" ? "it is a link" : `open ${code}` };
  }
  try {
    const found = fstatSync(file);
    if (!found.isFile() || (user && found.uid !== user.uid))
      return { bytes, trouble: "it is not a plain file of the task" };
    if (found.size > maxBytes) return { bytes, size: found.size };
    const content = Buffer.alloc(found.size);
    return { size: found.size, bytes: content.subarray(0, readSync(file, content)) };
  } finally {
    closeSync(file);
  }
}

/** Removes the folder: a few plain files here, anything more by `rm`, first as the user whose links it may meet. */
export function removeFolder(folder: string, user: ProcessUser | undefined, say: (text: string) => void): void {
  if (removedPlain(folder)) return;
  const rm = (as: ProcessUser | undefined): void => {
    const child = spawn("rm", ["-rf", "--", folder], { stdio: "ignore", ...as });
    child.on("error", (error) => say(`${folder} could not be removed: ${error.message}`));
    child.on("exit", () => {
      if (removedPlain(folder)) return;
      if (as) rm(undefined);
      else say(`${folder} could not be removed`);
    });
  };
  rm(user);
}

function removedPlain(folder: string): boolean {
  try {
    const names = readdirSync(folder).map((name) => path.join(folder, name));
    if (names.length > PLAIN_FOLDER || names.some((name) => lstatSync(name).isDirectory())) return false;
    names.forEach((name) => unlinkSync(name));
    rmdirSync(folder);
    return true;
  } catch (error) {
    return codeOf(error) === "ENOENT";
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
