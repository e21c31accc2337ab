import type { ProcessUser } from "./spawner/protocol.ts";

/** The users that processes run as. With one they share it; with several each has one to itself while it runs. */
export type UserPool = {
  /** For a process; undefined when tasks run as the worker's own user. Throws when all are taken. */
  take(): ProcessUser | undefined;
  giveBack(user: ProcessUser | undefined): void;
  /** From now on tasks run as the worker's own user. */
  clear(): void;
};

export function createUserPool(users: readonly ProcessUser[]): UserPool {
  let shared = users.length === 1 ? users[0] : undefined;
  let free = users.length === 1 ? [] : users.map((user): ProcessUser => ({ ...user, isAlone: true }));
  let isCleared = users.length === 0;
  return {
    take() {
      if (isCleared || shared !== undefined) return shared;
      const user = free.shift();
      if (user === undefined) throw new Error("every user of SLUICE_TASK_USER is taken");
      return user;
    },
    giveBack(user) {
      if (user?.isAlone && !isCleared) free.push(user);
    },
    clear() {
      [shared, free, isCleared] = [undefined, [], true];
    },
  };
}

/** Tasks run as the worker's own user. */
export const OWN_USER: UserPool = createUserPool([]);
