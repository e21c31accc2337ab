import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** Perl forks from a few megabytes, which costs less; Node is there everywhere. */
export type SpawnerProgram = "perl" | "node";

export type SpawnerProcess = ChildProcessByStdio<Writable, Readable, null>;

const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Small heaps: each fork copies the page tables of all that is there. */
const LEAN_NODE = ["--max-semi-space-size=1", "--single-threaded"];
const COMMANDS: Record<SpawnerProgram, readonly string[]> = {
  perl: ["perl", fileOf("./main.pl"), process.arch],
  node: [process.execPath, ...LEAN_NODE, fileOf("./main.ts")],
};

/** Perl, where there is one of 64 bits and main.pl knows the numbers of the system's calls. */
export function findProgram(env: Record<string, string>): SpawnerProgram {
  if (process.platform !== "linux") return "node";
  const { status } = spawnSync("perl", ["-c", fileOf("./main.pl"), process.arch], {
    env: env as NodeJS.ProcessEnv,
    stdio: "ignore",
  });
  return status === 0 ? "perl" : "node";
}

/** No task leaves a core dump: it may be as large as the task's memory, and holds what the task knew. */
const WITHOUT_CORES = ["/bin/sh", "-c", 'ulimit -c 0; exec "$@"', "sh"];

/** Starts the spawner program. Node cannot set limits of processes, so a shell does where there is one. */
export function launchSpawner(program: SpawnerProgram, env: Record<string, string>): SpawnerProcess {
  const [file, ...args] = [...(existsSync(WITHOUT_CORES[0]!) ? WITHOUT_CORES : []), ...COMMANDS[program]];
  return spawn(file!, args, { env: env as NodeJS.ProcessEnv, stdio: ["pipe", "pipe", "inherit"] });
}
