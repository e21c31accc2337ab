import { realpath, stat } from "node:fs/promises";
import path from "node:path";
import { ContainerTrouble } from "./trouble.ts";

/**
 * Which folders of the machine a container may see: those that the worker's setting names, and what lies in them. A name
 * is followed to where it leads, and the engine is given that place. Where containers may write, only the folder itself
 * is mounted: in it a container could put a link where a folder was, after it was looked at here.
 */

type Allowed = { folder: string; writable: boolean };
export type Mount = { source: string; target: string; readOnly: boolean };

/** `isHere` says whether the engine sees the files that this process sees. */
export type MountGuard = (mounts: readonly Mount[], isHere: boolean) => Promise<Mount[]>;

/** Answers the mounts with the places that they lead to; rejects with a `ContainerTrouble` when one is refused. */
export function createMountGuard(setting: readonly string[]): MountGuard {
  const named = setting.map((text): Allowed => {
    const writable = text.endsWith(":rw");
    return { folder: path.resolve(writable ? text.slice(0, -":rw".length) : text), writable };
  });
  return (mounts, isHere) =>
    Promise.all(mounts.map((mount) => (isHere ? followed(mount, named) : asNamed(mount, named))));
}

/** Of an engine elsewhere the links cannot be followed: only what is named is sure not to lead anywhere else. */
async function asNamed(mount: Mount, named: readonly Allowed[]): Promise<Mount> {
  const source = path.resolve("/", mount.source);
  if (path.isAbsolute(mount.source) && named.some(({ folder }) => folder === source))
    return granted({ ...mount, source }, named);
  throw refused(
    mount,
    `of a container engine on another machine only ${listOf(named)} can be mounted, and nothing in them`,
    named,
  );
}

async function followed(mount: Mount, named: readonly Allowed[]): Promise<Mount> {
  if (!path.isAbsolute(mount.source)) throw refused(mount, "it must be an absolute path, like /srv/data", named);
  const places = await Promise.all(named.map(async (one) => ({ ...one, folder: await placeOf(one.folder) })));
  const found = granted({ ...mount, source: await placeOf(mount.source) }, places, named);
  // After that, so that nobody learns what there is where nothing is allowed.
  const isFolder = await stat(found.source).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (!isFolder) throw refused(mount, "this worker sees no such folder", named);
  return found;
}

/** Where a name leads to; of one that leads nowhere, itself. */
function placeOf(name: string): Promise<string> {
  return realpath(name).catch(() => path.resolve(name));
}

function granted(mount: Mount, places: readonly Allowed[], named = places): Mount {
  const around = places.filter(({ folder }) => isWithin(mount.source, folder));
  if (around.length === 0) throw refused(mount, "this worker does not allow it", named);
  const inWritable = around.find(({ folder, writable }) => writable && folder !== mount.source);
  if (inWritable !== undefined)
    throw refused(
      mount,
      `of ${inWritable.folder}, where containers may write, only the folder itself can be mounted`,
      named,
    );
  if (!mount.readOnly && !around.some(({ folder, writable }) => writable && folder === mount.source))
    throw refused(mount, "it may only be read; readOnly must not be false", named);
  return mount;
}

function isWithin(place: string, folder: string): boolean {
  const way = path.relative(folder, place);
  return way === "" || (way !== ".." && !way.startsWith(`..${path.sep}`) && !path.isAbsolute(way));
}

function refused({ source }: Mount, why: string, named: readonly Allowed[]): ContainerTrouble {
  return new ContainerTrouble(
    "MOUNT_REFUSED",
    `the folder ${source} is not mounted: ${why}. SLUICE_DOCKER_MOUNTS allows ${listOf(named)} on this worker`,
  );
}

function listOf(named: readonly Allowed[]): string {
  if (named.length === 0) return "no folder";
  return named.map(({ folder, writable }) => `${folder}${writable ? " (to write as well)" : ""}`).join(", ");
}
