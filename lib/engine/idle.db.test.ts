import type pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { overdueSchedules } from "#lib/db/schedules.ts";
import { lanesOf, laneName, ownName } from "#lib/domain/lanes.ts";
import { createJobQueue } from "#lib/queue/job-queue.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { publish, worker } from "#lib/testing/engine.ts";
import { tendBackfills } from "./backfill/tend.ts";
import { carryOutActions } from "./carry-out-actions.ts";
import { createEngineDeps, type EngineDeps } from "./deps.ts";
import { dispatchCallbacks } from "./dispatch-callbacks.ts";
import { fireDueSchedules } from "./fire-schedules.ts";
import { createAdmissionLead } from "./lead-admission.ts";
import { deleteExpired } from "./retention.ts";
import { startAllQueuedRuns } from "./start-all-queued-runs.ts";
import { sweep } from "./sweep.ts";

/**
 * What processes ask again and again while there is nothing to do. How often they ask is tested with
 * whole processes.
 */

const database = testDatabase();
const BELLS = [...lanesOf(["default"]).map(laneName), ownName("w")];
const lead = createAdmissionLead("idle");

let deps: EngineDeps;
let statements: string[] = [];

/** The pool, noting each statement of its own and of its clients. */
function noting(pool: pg.Pool): pg.Pool {
  const noted = <T extends object>(of: T, others: Record<string, unknown> = {}): T =>
    new Proxy(of, {
      get(target, key) {
        const value: unknown = typeof key === "string" && key in others ? others[key] : Reflect.get(target, key);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          const [query] = args as [string | { text: string }];
          if (key === "query") statements.push(typeof query === "string" ? query : query.text);
          return Reflect.apply(value, target, args);
        };
      },
    });
  return noted(pool, { connect: async () => noted(await pool.connect()) });
}

beforeAll(async () => {
  const pool = noting(database.pool);
  const queue = createJobQueue(pool, (error) => {
    throw error;
  });
  await queue.start();
  deps = createEngineDeps({ ...database.deps, pool, queue, requestPass: lead.request });
  await publish(deps, "idle", { a: [] });
  await worker(deps, "w");
});

test.each<[string, number, () => Promise<unknown>]>([
  ["admission, by its leader", 3, () => lead.turn(deps)],
  ["actions", 1, () => carryOutActions(deps)],
  ["runs", 1, () => startAllQueuedRuns(deps)],
  ["the sweep", 1, () => sweep(deps)],
  ["backfills", 1, () => tendBackfills(deps)],
  ["callbacks", 1, () => dispatchCallbacks(deps)],
  ["retention", 1, () => deleteExpired(deps)],
  ["schedules", 1, () => fireDueSchedules(deps)],
  ["overdue schedules", 1, () => overdueSchedules(deps.pool, 10_000)],
  ["the bells of a worker", 1, () => deps.queue.bells.fetch(BELLS)],
])("a turn of %s with nothing to do is at most %d statements", async (_, most, turn) => {
  await turn();
  statements = [];
  await turn();
  expect(statements.length, statements.join("\n")).toBe(most);
});
