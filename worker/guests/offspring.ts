import { closeSync, openSync, readdirSync, readSync } from "node:fs";

/**
 * Whether a guest has processes beside its own. A control group lists them. Without one they are its children, or children of its
 * spawner, which inherits what loses its parent. Nothing is asked of the guest itself, whose code may say anything.
 */
export function hasOffspring(guest: {
  /** The file that lists what is in the guest's control group. */
  group: string | undefined;
  pid: number | undefined;
  spawner: number | undefined;
}): boolean {
  const { group, pid, spawner } = guest;
  if (group !== undefined) return countLines(textOf(group)) > 1;
  if (pid === undefined) return false;
  // In this order: what moves from the first to the second meanwhile is seen in the second.
  return childrenOf(pid).length > 0 || childrenOf(spawner).length > 1;
}

/** The children of all threads of a process; none where the kernel does not list them. */
function childrenOf(pid: number | undefined): string[] {
  return threadsOf(pid).flatMap((thread) =>
    textOf(`/proc/${pid}/task/${thread}/children`)
      .split(" ")
      .filter((child) => child !== ""),
  );
}

function threadsOf(pid: number | undefined): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

const countLines = (text: string): number => text.split("\n").length - 1;

/** More than a few numbers need not be told apart. */
const beginning = Buffer.alloc(256);

/** How a file of the kernel begins: this is asked after each call of a function. Empty for what is gone. */
function textOf(file: string): string {
  let fd: number | undefined;
  try {
    fd = openSync(file, "r");
    return beginning.toString("latin1", 0, readSync(fd, beginning, 0, beginning.length, 0));
  } catch {
    return "";
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
