import { expect, test } from "vitest";
import type { WebDeps } from "#lib/boot.ts";
import { createDuties } from "#lib/obs/duties.ts";
import { systemHandlers } from "./system.ts";

const REQUEST = { headers: new Headers() };

test("ready is read from memory, and says names and no reasons", async () => {
  let nowMs = 0;
  const duties = createDuties(() => nowMs);
  duties.register("database", 100);
  duties.register("migrations", 1_000, { isNeeded: true });
  // Whatever else a request asked for would not be there.
  const loadDeps = async (): Promise<WebDeps> => ({ duties }) as unknown as WebDeps;
  const both = (database: boolean, migrations: boolean): object => ({
    checks: [
      { name: "database", ok: database },
      { name: "migrations", ok: migrations },
    ],
  });
  expect(await systemHandlers.ready(loadDeps, REQUEST)).toMatchObject({ status: 200, body: both(true, true) });
  duties.failed("database", "password authentication failed for user");
  nowMs = 101;
  expect(await systemHandlers.ready(loadDeps, REQUEST)).toMatchObject({ status: 503, body: both(false, true) });
  duties.done("database");
  duties.failed("migrations", "0 migrations are applied");
  expect(await systemHandlers.ready(loadDeps, REQUEST)).toMatchObject({ status: 503, body: both(true, false) });
});

test("a process whose database is away at its start is not ready", async () => {
  const reply = await systemHandlers.ready(() => Promise.reject(new Error("no route to host")), REQUEST);
  expect(reply).toEqual({ status: 503, body: { status: "unavailable", checks: [{ name: "start", ok: false }] } });
});
