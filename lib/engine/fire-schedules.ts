import { paramValues } from "#lib/domain/param-values.ts";
import type { CompiledSchedule } from "#lib/domain/schedule/compile.ts";
import { type CatchupLimit, decide } from "#lib/domain/schedule/decide.ts";
import { compileDefinition, type ScheduleDefinition } from "#lib/domain/schedule/definition.ts";
import { activateRunsOf } from "#lib/db/runs.ts";
import { type DueSchedule, fireSchedules, type FiringOrder, readDueSchedules } from "#lib/db/schedules.ts";
import { retried } from "#lib/db/tx.ts";
import { admit } from "./admit.ts";
import type { EngineDeps } from "./deps.ts";
import { isolating, quarantine } from "./quarantine.ts";
import { startQueuedRuns } from "./start-queued-runs.ts";

/** So many schedules are looked at in one statement, and about so many runs made. */
const SCHEDULES_AT_ONCE = 1_000;
const RUNS_AT_ONCE = 1_000;

/** What somebody else has at hand is looked at again after this, should they die over it. */
const HELD_MS = 250;

/** Beyond the DAG's limit of active runs, so many may wait: under `all` what is to be made up for, otherwise the latest. */
const MAX_WAITING = 1;

/**
 * Starts the runs that are due by the database's clock, and decides about those that were missed. Any number of
 * schedulers may do so at once. Answers in how many milliseconds there is something to do again; undefined when nothing is
 * scheduled.
 */
export async function fireDueSchedules(deps: EngineDeps): Promise<number | undefined> {
  for (;;) {
    const { now, due, nextInMs } = await readDueSchedules(deps.pool, SCHEDULES_AT_ONCE);
    if (due.length === 0) return nextInMs;
    const { orders, broken } = ordersOf(due, now);
    for (const { id, error } of broken) await quarantine(deps, "fire", id, error);
    let movedSome = false;
    const fire = async (some: readonly FiringOrder[]): Promise<void> => {
      const { moved, runs } = await retried(() => fireSchedules(deps.pool, some, "scheduler"));
      movedSome ||= moved.length > 0;
      if (runs.length > 0) await begin(deps, runs);
    };
    await isolating(deps, "fire", orders, ({ schedule }) => schedule.id, fire);
    if (!movedSome) return HELD_MS;
  }
}

/** What is to become of the schedules, as many as make about `RUNS_AT_ONCE` runs; `broken` are those that cannot be computed. */
function ordersOf(
  due: readonly DueSchedule[],
  now: Date,
): { orders: FiringOrder[]; broken: { id: string; error: unknown }[] } {
  const orders: FiringOrder[] = [];
  const broken: { id: string; error: unknown }[] = [];
  const taken = new Map<string, number>();
  let runs = 0;
  for (const schedule of due) {
    if (runs >= RUNS_AT_ONCE) break;
    const { id, dagId } = schedule;
    try {
      const order = orderOf(schedule, now, taken.get(dagId) ?? 0);
      orders.push(order);
      runs += order.decision.fires.length;
      taken.set(dagId, (taken.get(dagId) ?? 0) + order.decision.fires.length);
    } catch (error) {
      broken.push({ id, error });
    }
  }
  return { orders, broken };
}

function orderOf(schedule: DueSchedule, now: Date, taken: number): FiringOrder {
  const { compiled, catchup } = compiledOf(schedule);
  const values = paramValues(schedule.params ?? {}, {});
  if (!values.ok) throw new Error(values.problems.join("; "));
  const waiting = typeof catchup === "object" ? catchup.all : MAX_WAITING;
  const room = schedule.maxActiveRuns + waiting - schedule.open - taken;
  return { schedule, decision: decide(compiled, schedule.state, { catchup, now, room }), params: values.params };
}

/** What was made is started as far as its DAGs' limits go, and handed to the workers. */
async function begin(deps: EngineDeps, runs: readonly { runId: string; dagId: string }[]): Promise<void> {
  const dagIds = [...new Set(runs.map(({ dagId }) => dagId))].toSorted();
  const { started, left } = await retried(() => activateRunsOf(deps.pool, dagIds));
  deps.notifier.announce("sluice_runs", [...runs.map(({ runId }) => runId), ...started]);
  if (started.length > 0) await admit(deps);
  for (const dagId of left) await startQueuedRuns(deps, dagId);
}

type Compiled = { compiled: CompiledSchedule; catchup: CatchupLimit };

/** A compiled schedule is some 10 KB and takes 100 µs to make. */
const MAX_COMPILED = 2_000;
const compiledSchedules = new Map<string, Compiled>();

function compiledOf({ dagId, definition }: DueSchedule): Compiled {
  const key = `${dagId}\n${definition}`;
  const known = compiledSchedules.get(key);
  if (known !== undefined) return known;
  const parsed = JSON.parse(definition) as ScheduleDefinition;
  const fresh = {
    compiled: compileDefinition(dagId, parsed),
    catchup: parsed.catchup,
  };
  if (compiledSchedules.size >= MAX_COMPILED) compiledSchedules.clear();
  compiledSchedules.set(key, fresh);
  return fresh;
}
