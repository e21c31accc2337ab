import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MAX_IDLE } from "./functions/pool.ts";
import { EVALUATORS } from "./loader/evaluator.ts";
import type { Spawner } from "./spawner/client.ts";
import type { ProcessUser } from "./spawner/protocol.ts";

const run = promisify(execFile);

/** Where there is no user `nobody`: what Linux shows for users it cannot name. */
const NOBODY = { uid: 65_534, gid: 65_534 };

/** Capabilities by their bit: to give a file away, to read one that is another's, to end another's process, to become another. */
export const NEEDED_CAPABILITIES = { CHOWN: 0n, DAC_OVERRIDE: 1n, KILL: 5n, SETGID: 6n, SETUID: 7n };

const FUNCTION_CHILD = fileURLToPath(new URL("./functions/child.ts", import.meta.url));

/** Who tasks run as: nobody in the list is the worker's own user, and `why` says what for. */
export type TaskUsers = { users: readonly ProcessUser[]; why?: string };

/**
 * The users of `SLUICE_TASK_USER`: a name, a number, or a range of numbers, of which each process has one to itself.
 * A worker that is root and was told nothing takes `nobody`. Throws when what was asked for cannot be done.
 */
export async function findTaskUsers(asked: string | undefined): Promise<TaskUsers> {
  const own = process.getuid?.();
  const users = asked === undefined ? [(await lookUp("nobody")) ?? NOBODY] : await usersOf(asked);
  if (asked !== undefined && users.every((user) => user.uid === own))
    return { users: [], why: "SLUICE_TASK_USER says so" };
  const missing = own === 0 ? missingCapabilities() : ["root"];
  if (missing.length === 0) return { users };
  const why = own === 0 ? `the worker is root without ${missing.join(", ")}` : "the worker is not root";
  if (asked !== undefined) throw new Error(`SLUICE_TASK_USER ${asked} cannot be used: ${why}`);
  return { users: [], why };
}

async function usersOf(asked: string): Promise<ProcessUser[]> {
  const [first, last] = asked.split("-").map(Number) as [number, number | undefined];
  if (Number.isNaN(first) || last === undefined || Number.isNaN(last)) {
    const user = await lookUp(asked);
    if (user !== undefined) return [user];
    if (Number.isNaN(first)) throw new Error(`SLUICE_TASK_USER ${asked} cannot be used: there is no such user`);
    return [{ uid: first, gid: first }];
  }
  return Array.from({ length: last - first + 1 }, (_, n) => ({ uid: first + n, gid: first + n }));
}

/** At the end of a range, for a scheduler of the same machine: two guests of each evaluator, and as many that are being ended. */
export const SCHEDULER_USERS = 4 * EVALUATORS;

/** Of a range, the users of a scheduler: the last ones, which no worker takes. */
export function schedulersOf(users: readonly ProcessUser[]): readonly ProcessUser[] {
  return users.length > 1 ? users.slice(-SCHEDULER_USERS) : users;
}

/**
 * Of a range, the users of a worker. Each of its processes has one, and each child for functions: those that are at a call, as many
 * that are being ended, and those that wait. Throws when the range is too small for that.
 */
export function workersOf(
  users: readonly ProcessUser[],
  { processSlots, functionSlots }: { processSlots: number; functionSlots: number },
): readonly ProcessUser[] {
  if (users.length < 2) return users;
  const needed = processSlots + 2 * functionSlots + MAX_IDLE;
  if (users.length >= needed + SCHEDULER_USERS) return users.slice(0, -SCHEDULER_USERS);
  throw new Error(
    `SLUICE_TASK_USER has a range of ${users.length} users: ${processSlots} process slots and ${functionSlots} function slots ` +
      `need one of ${needed + SCHEDULER_USERS}`,
  );
}

async function lookUp(name: string): Promise<ProcessUser | undefined> {
  try {
    const [uid, gid] = await Promise.all([run("id", ["-u", name]), run("id", ["-g", name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

/** Root in a container often has only some of root's powers. */
function missingCapabilities(): string[] {
  if (process.platform !== "linux") return [];
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]!}`);
  return Object.entries(NEEDED_CAPABILITIES).flatMap(([name, bit]) => ((effective >> bit) & 1n ? [] : [`CAP_${name}`]));
}

/** A folder is read by who may also enter it. */
const TRY = `
  const { accessSync, statSync, constants: { F_OK, R_OK, X_OK } } = require("node:fs");
  for (const [file, mode] of JSON.parse(process.argv[1]))
    accessSync(file, mode === "F" ? F_OK : statSync(file).isDirectory() ? R_OK | X_OK : R_OK);
`;

/**
 * Why a task could not run as its user here, by trying: whether it may enter a folder of the worker's, read what a guest needs and
 * `readable`, and pass to `there`. Undefined when it can.
 */
export async function taskUserTrouble(
  spawner: Spawner,
  workFolder: string,
  { readable = [], there = [] }: { readable?: readonly string[]; there?: readonly string[] },
): Promise<string | undefined> {
  const modes = [[FUNCTION_CHILD, ...readable].map((file) => [file, "R"]), there.map((file) => [file, "F"])].flat();
  let said = "";
  const exit = await spawner.run(
    {
      file: process.execPath,
      args: ["-e", TRY, JSON.stringify(modes)],
      env: {},
      folder: path.join(workFolder, "try-task-user"),
      files: {},
    },
    new AbortController().signal,
    async (_, bytes) => void (said += bytes.toString()),
  );
  if (exit.code === 0) return undefined;
  return exit.error ?? /^Error: (.*)$/m.exec(said)?.[1] ?? said.trim();
}
