import path from "node:path";
import type { Spawner } from "../spawner/client.ts";

const NEVER = new AbortController().signal;

/**
 * Starts a process that does nothing, in a folder and as a user that tasks get, and throws why it could not. Whatever
 * keeps tasks from being started keeps this one from it: the spawner, the folder, the user, the number of processes.
 */
export async function tryStart(spawner: Pick<Spawner, "run">, workFolder: string): Promise<void> {
  const folder = path.join(workFolder, "try-start");
  const request = { file: "/bin/sh", args: ["-c", ":"], env: {}, folder, files: {} };
  const exit = await spawner.run(request, NEVER, () => Promise.resolve());
  if (exit.code === 0) return;
  throw new Error(exit.error ?? `/bin/sh ended with ${exit.signal ?? `exit code ${String(exit.code)}`}`);
}
