import { paramValues } from "#lib/domain/param-values.ts";
import type { CompiledSchedule } from "#lib/domain/schedule/compile.ts";
import { type CatchupLimit, decide, type Decision, MAX_AT_ONCE } from "#lib/domain/schedule/decide.ts";
import { compileDefinition, type ScheduleDefinition } from "#lib/domain/schedule/definition.ts";
import type { DueSchedule, FiringOrder } from "#lib/db/schedules.ts";

/** About so many runs are made in one statement, with so many bytes of params. */
const RUNS_AT_ONCE = 1_000;
const BYTES_AT_ONCE = 8_000_000;

/** After so many runs that are started or left out, what has been decided is written first, and others get their turn. */
const DECIDED_AT_ONCE = 50_000;

/** Beyond the DAG's limit of active runs, so many may wait: under `all` what is to be made up for, otherwise the latest. */
const MAX_WAITING = 1;

export type Orders = { orders: FiringOrder[]; broken: { id: string; error: unknown }[] };

/** What is to become of the schedules, as many as go into one statement; `broken` are those that cannot be computed. */
export function firingOrders(due: readonly DueSchedule[], now: Date): Orders {
  const orders: FiringOrder[] = [];
  const broken: Orders["broken"] = [];
  const taken = new Map<string, number>();
  const done = { runs: 0, bytes: 0, decided: 0 };
  for (const schedule of due) {
    if (done.runs >= RUNS_AT_ONCE || done.bytes >= BYTES_AT_ONCE || done.decided >= DECIDED_AT_ONCE) break;
    const { id, dagId } = schedule;
    try {
      const { order, size } = orderOf(schedule, now, taken.get(dagId) ?? 0);
      const { fires, dropped } = order.decision;
      orders.push(order);
      done.runs += fires.length;
      done.bytes += fires.length * size;
      done.decided += dropped.reduce((sum, { runs }) => sum + runs, fires.length);
      taken.set(dagId, (taken.get(dagId) ?? 0) + fires.length);
    } catch (error) {
      broken.push({ id, error });
    }
  }
  return { orders, broken };
}

function orderOf(schedule: DueSchedule, now: Date, taken: number): { order: FiringOrder; size: number } {
  const values = paramValues(schedule.params ?? {}, {});
  if (!values.ok) throw new Error(values.problems.join("; "));
  const size = JSON.stringify(values.params).length;
  const atOnce = Math.max(1, Math.min(MAX_AT_ONCE, Math.floor(BYTES_AT_ONCE / size)));
  const { decision, closes } = decided(schedule, { now, taken, atOnce });
  return { order: { schedule, decision, closes, params: values.params }, size };
}

/** By its former definition as long as something is owed by that, and then by its own. */
function decided(
  schedule: DueSchedule,
  { now, taken, atOnce }: { now: Date; taken: number; atOnce: number },
): { decision: Decision; closes: boolean } {
  const { dagId, definition, former, state, maxActiveRuns, open } = schedule;
  const own = compiledOf(dagId, definition);
  const { compiled, catchup } = former === undefined ? own : compiledOf(dagId, former.definition);
  const room = maxActiveRuns + (typeof catchup === "object" ? catchup.all : MAX_WAITING) - open - taken;
  // A clock that was ahead when the definition was changed must not have runs start before their time.
  const until = former && (former.to < now ? former.to : now);
  const decision = decide(compiled, state, { catchup, now, room, atOnce, until });
  if (until === undefined || !decision.isAll) return { decision, closes: false };
  const position = decision.state.position > until ? decision.state.position : until;
  const following = own.compiled.next(position);
  // At once, by its own definition.
  const next = following && { due: following.due, at: now };
  return { decision: { ...decision, state: { ...decision.state, position }, next }, closes: true };
}

type Compiled = { compiled: CompiledSchedule; catchup: CatchupLimit };

/** A compiled schedule is some 10 KB and takes 100 µs to make. */
const MAX_COMPILED = 2_000;
const compiledSchedules = new Map<string, Compiled>();

function compiledOf(dagId: string, definition: string): Compiled {
  const key = `${dagId}\n${definition}`;
  const known = compiledSchedules.get(key);
  if (known !== undefined) return known;
  const parsed = JSON.parse(definition) as ScheduleDefinition;
  const fresh = { compiled: compileDefinition(dagId, parsed), catchup: parsed.catchup };
  if (compiledSchedules.size >= MAX_COMPILED) compiledSchedules.clear();
  compiledSchedules.set(key, fresh);
  return fresh;
}
