import fc from "fast-check";
import { expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { createPool } from "#lib/db/pool.ts";
import { markMissing } from "#lib/db/versions.ts";
import { compileDefinition, type ScheduleDefinition } from "#lib/domain/schedule/definition.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns } from "#lib/testing/engine.ts";
import { forgetSchedules, publishScheduled, setClock } from "#lib/testing/schedules.ts";
import { createEngineDeps, type EngineDeps } from "./deps.ts";
import { fireDueSchedules } from "./fire-schedules.ts";
import { pauseDag, unpauseDag } from "./pause.ts";

const database = testDatabase();

const BEGIN = new Date("2026-03-10T10:00:30Z");
const SCHEDULERS = 4;

/** Two schedules of other rhythms, of which the second may be looked at later than it is due. */
const schedule = (jitter: string | undefined): object[] => [
  { cron: "* * * * *" },
  { every: "90s", jitter, blackout: { windows: [{ start: "2026-03-10T10:20:00Z", end: "2026-03-10T10:31:00Z" }] } },
];

type Step =
  | { kind: "wait"; seconds: number }
  | { kind: "back"; seconds: number }
  | { kind: "pause" }
  | { kind: "go on"; catchesUp: boolean }
  | { kind: "edit"; jitter: string | undefined; catchup: string }
  | { kind: "lose the file" }
  | { kind: "end runs" }
  | { kind: "kill a scheduler" };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), seconds: fc.integer({ min: 1, max: 600 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("back" as const), seconds: fc.integer({ min: 1, max: 600 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pause" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("go on" as const), catchesUp: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("edit" as const),
      jitter: fc.constantFrom(undefined, "20s"),
      catchup: fc.constantFrom("none", "latest", "all"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose the file" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("end runs" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("kill a scheduler" as const) }) },
);

/** A dagId of its own for each history. */
let histories = 0;
let dagId = "";

/** A slow machine plays fewer histories. */
const ENOUGH_MS = 60_000;

test("whatever happens, each instant becomes one run or is counted as dropped, and in order", async () => {
  const { deps, url } = database;
  // One connection each, so that the clock is set on all and a killed one is known.
  const pools = Array.from({ length: SCHEDULERS }, () => createPool({ url, max: 1, name: "scheduler" }));
  const schedulers = pools.map((pool) => createEngineDeps({ ...deps, pool }));
  const until = performance.now() + ENOUGH_MS;
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 3, maxLength: 14 }), async (steps) => {
        if (performance.now() > until) return;
        await forgetSchedules(deps);
        await forgetRuns(deps);
        dagId = `model-${histories++}`;
        let now = BEGIN;
        const setAll = async (): Promise<void> => {
          for (const one of [deps, ...schedulers]) await setClock(one, now);
        };
        const publish = (jitter?: string, catchup: string = "all"): Promise<void> =>
          publishScheduled(deps, dagId, { schedule: schedule(jitter), catchup, limits: { maxActiveRuns: 3 } });
        await setAll();
        await publish();
        const begun = await positions(deps);
        for (const step of steps) {
          if (step.kind === "wait") now = new Date(now.getTime() + step.seconds * 1_000);
          if (step.kind === "back") now = new Date(now.getTime() - step.seconds * 1_000);
          await setAll();
          if (step.kind === "pause") await pauseDag(deps, dagId, "anna");
          if (step.kind === "go on") await unpauseDag(deps, dagId, step);
          if (step.kind === "edit") await publish(step.jitter, step.catchup);
          if (step.kind === "lose the file") await inTx(deps.pool, (tx) => markMissing(tx, dagId, `${dagId}.yaml`));
          if (step.kind === "end runs") await endRuns(deps);
          await lookAll(schedulers, step.kind === "kill a scheduler");
          await accounts(deps, begun);
        }
      }),
      { numRuns: 40 },
    );
  } finally {
    await Promise.all(pools.map((pool) => pool.end()));
  }
}, 120_000);

/** All look at once; one of them is killed at whatever it is doing. */
async function lookAll(schedulers: readonly EngineDeps[], killsOne: boolean): Promise<void> {
  const [victim] = schedulers as [EngineDeps, ...EngineDeps[]];
  const { rows } = await victim.pool.query<{ pid: number }>("select pg_backend_pid() as pid");
  const looks = Promise.allSettled(schedulers.map((one) => fireDueSchedules(one)));
  if (killsOne) await database.pool.query("select pg_terminate_backend($1)", [rows[0]!.pid]);
  const [died, ...others] = await looks;
  // One that had done its work already hears of its end later.
  while (killsOne && !(await isAnother(victim, rows[0]!.pid)));
  const failed = [...(killsOne ? [] : [died!]), ...others].filter(({ status }) => status === "rejected");
  expect(failed).toEqual([]);
}

/** Another connection has taken the place of the killed one. */
async function isAnother({ pool }: EngineDeps, killed: number): Promise<boolean> {
  try {
    const { rows } = await pool.query<{ pid: number }>("select pg_backend_pid() as pid");
    return rows[0]!.pid !== killed;
  } catch {
    return false;
  }
}

async function endRuns({ pool }: EngineDeps): Promise<void> {
  await pool.query(
    `with r as (update sluice.dag_run set state = 'success', ended_at = sluice.clock() where state = 'running' returning id)
     delete from sluice.task_instance t using r where t.run_id = r.id`,
  );
}

type Place = { id: string; dagId: string; definition: ScheduleDefinition; position: Date };

async function positions({ pool }: EngineDeps): Promise<Map<string, Place>> {
  const { rows } = await pool.query<Place>(
    'select id::text, dag_id as "dagId", definition, position from sluice.schedule where dag_id = $1 order by ord',
    [dagId],
  );
  return new Map(rows.map((row) => [row.id, row]));
}

async function accounts(deps: EngineDeps, begun: ReadonlyMap<string, Place>): Promise<void> {
  const { rows } = await deps.pool.query<{ id: string; due: Date; logical: Date }>(
    `select schedule_id::text as id, interval_end as due, logical_date as logical
       from sluice.dag_run r where dag_id = $1 order by r.id`,
    [dagId],
  );
  const dropped = await deps.pool.query<{ id: string; runs: number }>(
    "select schedule_id::text as id, sum(runs)::int as runs from sluice.dropped_runs group by 1",
  );
  for (const [id, { position, definition }] of await positions(deps)) {
    const instants = [...compileDefinition(dagId, definition).between(begun.get(id)!.position, position)];
    const runs = rows.filter((row) => row.id === id);
    const dues = runs.map(({ due }) => due.getTime());
    expect(new Set(dues).size).toBe(dues.length);
    expect(dues).toEqual(dues.toSorted((a, b) => a - b));
    const known = new Set(instants.map(({ due }) => due.getTime()));
    expect(dues.filter((due) => !known.has(due))).toEqual([]);
    const others = dropped.rows.find((row) => row.id === id)?.runs ?? 0;
    expect(runs.length + others).toBe(instants.length);
    for (const [index, { logical }] of runs.entries())
      if (index > 0) expect(logical.getTime()).toBeGreaterThanOrEqual(dues[index - 1]!);
  }
}
