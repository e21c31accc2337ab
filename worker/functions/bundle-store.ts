import { chmod, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";

export type BundleStore = {
  /** Where its files are. */
  folderOf(hash: string): Promise<string>;
  /** The text of one of its files. */
  textOf(hash: string | undefined, name: string): Promise<string>;
};

/**
 * Code bundles as folders, one per hash, made when first needed. A folder appears by rename, whole or not at all;
 * several workers may share the parent folder. Whoever functions run as may read it.
 */
export function createBundleStore(
  folder: string,
  read: (hash: string) => Promise<Record<string, string> | undefined>,
): BundleStore {
  const known = new Map<string, Promise<string>>();

  const materialise = async (hash: string): Promise<string> => {
    const target = path.join(folder, hash);
    if (await exists(target)) {
      await chmod(target, 0o755);
      return target;
    }
    const files = await read(hash);
    if (!files) throw new Error(`the code bundle ${hash} is not in the database`);
    await mkdir(folder, { recursive: true });
    const draft = await mkdtemp(path.join(folder, ".draft-"));
    try {
      await writeBundle(draft, files);
      await rename(draft, target);
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      if (!(await exists(target))) throw error;
    }
    return target;
  };

  const folderOf = (hash: string): Promise<string> => {
    const found = known.get(hash) ?? materialise(hash);
    known.set(hash, found);
    // A failure is not kept: the next call tries again.
    found.catch(() => known.delete(hash));
    return found;
  };

  return {
    folderOf,
    async textOf(hash, name) {
      if (hash === undefined) throw new Error(`this DAG version holds no files, and so not ${name}`);
      return readFile(path.join(await folderOf(hash), name), "utf8");
    },
  };
}

async function writeBundle(folder: string, files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries({ "package.json": '{"type":"module"}', ...files })) {
    const file = path.join(folder, name);
    if (!file.startsWith(folder + path.sep)) throw new Error(`a code bundle holds a path outside itself: ${name}`);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  await chmod(folder, 0o755);
}

function exists(target: string): Promise<boolean> {
  return stat(target).then(
    () => true,
    () => false,
  );
}
