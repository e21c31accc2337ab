import { constants } from "node:os";
import type { Exit, HandedBack, SpawnRequest } from "#lib/executors/executor.ts";
import type { AttemptGroup, GroupEnd } from "../cgroups/groups.ts";
import { killGroup } from "../kill-group.ts";
import { killTasksIn, WORK_DIR } from "../kill-tasks-in.ts";
import { removeTaskFolders } from "../remove-task-folders.ts";
import type { FromSpawner, ProcessUser, SpawnedExit, ToSpawner } from "./protocol.ts";

/** Takes a piece of output; what it answers is waited for before more is read. */
export type OnData = (stream: "stdout" | "stderr", bytes: Buffer) => Promise<void>;

export type RunningProcess = {
  exit: Promise<Exit>;
  /** Its number while it runs; undefined where nobody has told it. */
  pid(): number | undefined;
  take(message: FromSpawner): void;
  /** The spawner has died, and with it all that it knew. */
  lost(): void;
};

export const LOST: Exit = { code: null, signal: null, error: "the spawner process was lost" };
const SIGNAL_NAMES = new Map<number, string>(Object.entries(constants.signals).map(([name, number]) => [number, name]));

/** One process, from the request that starts it to its exit and what is left of it. */
export function startProcess(options: {
  id: number;
  request: SpawnRequest;
  signal: AbortSignal;
  onData: OnData;
  user: ProcessUser | undefined;
  /** The control group it runs in; `memory` is its limit in MiB. */
  group: AttemptGroup;
  memory: number;
  /** False when there is no spawner to send to. */
  send(message: ToSpawner): boolean;
  /** From SIGTERM to SIGKILL when it is to end; without it, SIGKILL at once. */
  termGraceMs?: number | undefined;
}): RunningProcess {
  const { id, request, signal, onData, user, group, memory, send, termGraceMs } = options;
  const ended = Promise.withResolvers<SpawnedExit | undefined>();
  let pid: number | undefined;
  /** All output that has come. */
  let taken: Promise<void> = Promise.resolve();

  const take = (message: FromSpawner): void => {
    switch (message.kind) {
      case "started":
        pid = message.pid;
        return;
      case "data": {
        const { stream } = message;
        const more = (): void => void send({ kind: "more", id, stream });
        // Output that cannot be kept must not keep the process from going on.
        const kept = onData(stream, message.bytes).then(more, more);
        taken = taken.then(() => kept);
        return;
      }
      case "exit":
        return ended.resolve(message);
      case "ended":
        // The number may be another's soon.
        pid = undefined;
        // What has left the process's own group ends with it too.
        return group.kill();
      case "notice":
      case "pong":
        return;
    }
  };

  const lost = (): void => {
    killGroup(pid);
    group.kill();
    ended.resolve(undefined);
  };

  const stop = (name: "SIGTERM" | "SIGKILL"): void => {
    send({ kind: "kill", id, signal: name });
    if (name === "SIGKILL") group.kill();
  };

  const run = async (): Promise<Exit> => {
    const { outputs = [] } = request;
    const env = { ...request.env, [WORK_DIR]: request.folder };
    const sent = send({ kind: "run", id, ...request, outputs, env, user, procs: group.procs });
    const exit = sent ? await untilEnded(ended.promise, signal, stop, termGraceMs) : undefined;
    await taken;
    const groupEnd = await group.close();
    if (exit !== undefined) return { ...toExit(exit), ...usedBy(exit, groupEnd, memory) };
    // The spawner knew of more than it had told: of what left the process's group, or of the process itself.
    await killTasksIn(request.folder, user === undefined ? [] : [user]);
    await removeTaskFolders([request.folder]);
    return LOST;
  };

  return { exit: run(), pid: () => pid, take, lost };
}

/** Waits for the end, which an abort of `signal` asks for, and after a time of grace enforces. */
async function untilEnded<T>(
  ended: Promise<T>,
  signal: AbortSignal,
  kill: (signal: "SIGTERM" | "SIGKILL") => void,
  graceMs: number | undefined,
): Promise<T> {
  let force: NodeJS.Timeout | undefined;
  const stop = (): void => {
    if (graceMs === undefined) return kill("SIGKILL");
    kill("SIGTERM");
    force = setTimeout(() => kill("SIGKILL"), graceMs);
  };
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  try {
    return await ended;
  } finally {
    clearTimeout(force);
    signal.removeEventListener("abort", stop);
  }
}

function toExit({ code, signal, error, files }: SpawnedExit): Exit {
  const exit = {
    code: code ?? null,
    signal: signal === undefined ? null : (SIGNAL_NAMES.get(signal) ?? `signal ${signal}`),
  };
  if (error !== undefined) return { ...exit, error };
  if (files.length === 0) return exit;
  const outputs = files.map(({ size, bytes, trouble }): HandedBack => {
    if (trouble !== undefined) return { trouble };
    return size === undefined ? undefined : { size, text: bytes.toString() };
  });
  return { ...exit, outputs };
}

/** The group knows of all its processes together; the spawner, of the largest of them. */
function usedBy(
  exit: SpawnedExit,
  { usage, outOfMemory }: GroupEnd,
  memory: number,
): Pick<Exit, "usage" | "outOfMemory"> {
  if (exit.error !== undefined) return {};
  const peakOfOne = exit.peakKib === undefined ? undefined : exit.peakKib * 1024;
  return {
    usage: { peakMemoryBytes: usage.peakMemoryBytes ?? peakOfOne, cpuMs: usage.cpuMs ?? exit.cpuMs },
    ...(outOfMemory ? { outOfMemory: memory } : {}),
  };
}
