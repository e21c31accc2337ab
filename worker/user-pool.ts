import type { ProcessUser } from "./spawner/protocol.ts";

/** The users that tasks run as. With one they share it; with several each process has one to itself while it runs. */
export type UserPool = {
  /** For a process; undefined when tasks run as the worker's own user. Throws when all are taken. */
  take(): ProcessUser | undefined;
  giveBack(user: ProcessUser | undefined): void;
  /** For the children that run functions, which are of all DAGs. */
  forFunctions(): ProcessUser | undefined;
  /** From now on tasks run as the worker's own user. */
  clear(): void;
};

export function createUserPool(users: readonly ProcessUser[]): UserPool {
  let [shared, ...own] = users;
  return {
    take() {
      if (users.length < 2 || shared === undefined) return shared;
      const user = own.shift();
      if (user === undefined) throw new Error("every user of SLUICE_TASK_USER is taken");
      return user;
    },
    giveBack(user) {
      if (user !== undefined && user !== shared) own.push(user);
    },
    forFunctions: () => shared,
    clear() {
      [shared, own] = [undefined, []];
    },
  };
}

/** Tasks run as the worker's own user. */
export const OWN_USER: UserPool = createUserPool([]);
