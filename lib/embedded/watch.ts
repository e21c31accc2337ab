import { setTimeout as delay } from "node:timers/promises";
import { readPidFile } from "./pid-file.ts";
import type { Server } from "./server.ts";

/** A look is the reading of a small file. */
const LOOK_EVERY_MS = 250;

type Verdict = { why: string; mode: "fast" | "immediate" };

/**
 * Ends a server that somebody else has told to stop, or whose folder somebody else has taken away. By itself the first waits
 * for its sessions, which are ours and never end, and refuses new ones; the second goes on for up to a minute on files
 * that are gone. Ends when the server has. Nothing is said about a server that we stop ourselves.
 */
export async function watchServer(server: Server, pgData: string, say: (line: string) => void): Promise<void> {
  const ended = new AbortController();
  void server.exited.then(() => ended.abort());
  let before: string | undefined;
  while (!ended.signal.aborted && !server.isAskedToStop()) {
    await delay(LOOK_EVERY_MS, undefined, { signal: ended.signal }).catch(() => undefined);
    const verdict = await judge(server, pgData);
    // One that is ending removes its file a moment before it is gone, so a file is missed twice.
    const isSure = verdict?.mode === "fast" || (verdict !== undefined && verdict.why === before);
    before = verdict?.why;
    if (verdict === undefined || !isSure || ended.signal.aborted || server.isAskedToStop()) continue;
    say(`Postgres ${verdict.why}; ending its sessions`);
    await server.stop(undefined, verdict.mode);
  }
}

async function judge(server: Server, pgData: string): Promise<Verdict | undefined> {
  const file = await readPidFile(pgData);
  if (file === undefined) return undefined;
  if (file === "gone") return { why: `has lost its folder: postmaster.pid is not in ${pgData}`, mode: "immediate" };
  // Its files are another one's now: as Postgres does when it finds out, it writes nothing more.
  if (file.pid !== server.process.pid)
    return { why: `has lost its folder to another server (pid ${file.pid})`, mode: "immediate" };
  return file.state === "stopping" ? { why: "was told to stop by somebody else", mode: "fast" } : undefined;
}
