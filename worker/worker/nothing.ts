import { chmod, writeFile } from "node:fs/promises";
import path from "node:path";

/**
 * One file for all inputs of all tasks that say nothing: making and removing files is most of what a task's folder
 * costs. Only for tasks that run as another user: one of the worker's own could write something else into it, for all
 * tasks after it.
 */
export async function writeNothing(workFolder: string): Promise<string> {
  const file = path.join(workFolder, "nothing.json");
  await writeFile(file, "{}");
  // Whatever the worker's umask is.
  await chmod(file, 0o444);
  return file;
}
