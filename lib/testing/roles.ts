import { beforeAll, onTestFinished } from "vitest";
import { createPool } from "#lib/db/pool.ts";
import { LOGINS, type Login, type Roles, rolesOf } from "#lib/db/roles/grants.ts";
import { admit } from "#lib/engine/admit.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { install } from "#lib/engine/install.ts";
import { announceRequest } from "#lib/engine/lead-admission.ts";
import { type TestDatabase, testDeps } from "./database.ts";

const PREFIX = "sluice";

/** The names that roles have in test databases. */
export const ROLES: Roles = rolesOf(PREFIX);

export type OwnRoles = {
  /** The address of the test's database for each process's own role. */
  urlAs(login: Login): string;
  /** The engine of a process that connects as its own role, for one test. */
  depsOf(login: Login): Promise<EngineDeps>;
};

/** Has the roles of a test's database log in, each with a password; all files share the roles, so it is the same for all. */
export function ownRoles(database: TestDatabase): OwnRoles {
  const passwords = Object.fromEntries(LOGINS.map((login) => [login, `password-of-${login}`])) as Record<Login, string>;
  beforeAll(async () => {
    await install(database.url, { prefix: PREFIX, passwords });
  });
  const urlAs = (login: Login): string =>
    Object.assign(new URL(database.url), { username: ROLES[login], password: passwords[login] }).href;
  return {
    urlAs,
    async depsOf(login) {
      const url = urlAs(login);
      const deps = testDeps(
        createPool({ url, max: 3, name: login }),
        url,
        login === "scheduler" ? admit : announceRequest,
      );
      await deps.queue.start();
      onTestFinished(async () => {
        await deps.notifier.flush();
        await deps.queue.stop();
        await deps.pool.end();
      });
      return deps;
    },
  };
}
