import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { messageOf } from "#lib/domain/errors.ts";

/** Perl forks from a few megabytes, which costs less; Node is there everywhere. */
export type SpawnerProgram = "perl" | "node";

export type SpawnerProcess = ChildProcessByStdio<Writable, Readable, null>;

/** The spawner of one guest, with this process's ends of the guest's two pipes: what it is sent, and what it sends. */
export type GuestSpawner = { spawner: SpawnerProcess; toGuest: Writable; fromGuest: Readable };

const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Small heaps: each fork copies the page tables of all that is there. */
const LEAN_NODE = ["--max-semi-space-size=1", "--single-threaded"];
const COMMANDS: Record<SpawnerProgram, readonly string[]> = {
  perl: ["perl", fileOf("./main.pl"), process.arch],
  node: [process.execPath, ...LEAN_NODE, fileOf("./main.ts")],
};

/** By the PATH that was searched. */
const found = new Map<string | undefined, SpawnerProgram>();

/** Perl, where there is one of 64 bits and main.pl knows the numbers of the system's calls. Looked for once. */
export function findProgram(env: Record<string, string>): SpawnerProgram {
  const program = found.get(env.PATH) ?? look(env);
  found.set(env.PATH, program);
  return program;
}

function look(env: Record<string, string>): SpawnerProgram {
  if (process.platform !== "linux") return "node";
  const { status } = spawnSync("perl", ["-c", fileOf("./main.pl"), process.arch], {
    env: env as NodeJS.ProcessEnv,
    stdio: "ignore",
  });
  return status === 0 ? "perl" : "node";
}

/** No task leaves a core dump: it may be as large as the task's memory, and holds what the task knew. */
const WITHOUT_CORES = ["/bin/sh", "-c", 'ulimit -c 0; exec "$@"', "sh"];

/** Starts the spawner program; an error where the system has no process or no descriptor to give. */
export function launchSpawner(program: SpawnerProgram, env: Record<string, string>): SpawnerProcess | Error {
  return launch(env, COMMANDS[program], ["pipe", "pipe", "inherit"]);
}

/** Starts the spawner of one guest. */
export function launchGuestSpawner(program: SpawnerProgram, env: Record<string, string>): GuestSpawner | Error {
  const command = [...COMMANDS[program], "guest"];
  const spawner = launch(env, command, ["pipe", "pipe", "inherit", "pipe", "pipe"]);
  if (spawner instanceof Error) return spawner;
  const [, , , toGuest, fromGuest] = spawner.stdio as unknown as [unknown, unknown, unknown, Writable, Readable];
  return { spawner, toGuest, fromGuest };
}

/** Node cannot set limits of processes, so a shell does where there is one. Too few descriptors are reported in several ways. */
function launch(
  env: Record<string, string>,
  command: readonly string[],
  stdio: ("pipe" | "inherit")[],
): SpawnerProcess | Error {
  const [file, ...args] = [...(existsSync(WITHOUT_CORES[0]!) ? WITHOUT_CORES : []), ...command];
  try {
    const launched = spawn(file!, args, { env: env as NodeJS.ProcessEnv, stdio }) as unknown as SpawnerProcess;
    if (launched.pid !== undefined) return launched;
    launched.on("error", () => undefined);
    return new Error("the system starts no process now");
  } catch (error) {
    return error instanceof Error ? error : new Error(messageOf(error));
  }
}
