import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { type Figure, figureOf, percentile } from "../report.ts";
import type { System } from "../system.ts";
import type { Measure } from "./measure.ts";

const STORM = 1_000;
const IDLE = 10_000;
const IDLE_S = 60;
const LOOK_MS = 100;
const FIRED_LOOK_MS = 5;
const QUIET_MS = 500;
/** So long after a publication the schedulers have looked at everything and are asleep. */
const SETTLE_MS = 5_000;

/**
 * B7: how late the runs of one schedule of every second are; how long a thousand schedules that are due at one instant take; what
 * ten thousand cost that are not due for months.
 */
export const schedules: Measure = async ({ system, minutes, times }) => [
  ...(await single(system, Math.round(minutes * 60))),
  ...(await storm(system, times)),
  ...(await idle(system)),
];

async function publish(system: System, ids: readonly string[], schedule: string): Promise<void> {
  for (const id of ids) {
    const spec = DagSpec.parse({ id, schedule, tasks: [{ id: "only", type: "noop", config: {} }] });
    await inTx(system.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "bench" }));
  }
  system.deps.notifier.announce("sluice_schedules", ["bench"]);
}

type Lateness = { due: Date; createdMs: number; startedMs: number; runs: number };

/** By instant, how long after it the last run was there, and the last task had begun. */
async function lateness({ pool }: System, dag: string): Promise<Lateness[]> {
  const { rows } = await pool.query<Lateness>(
    `select r.interval_end as due, count(*)::int as runs,
            extract(epoch from max(r.created_at) - r.interval_end)::float8 * 1000 as "createdMs",
            extract(epoch from max(t.started_at) - r.interval_end)::float8 * 1000 as "startedMs"
       from sluice.dag_run r left join sluice.task_instance t on t.run_id = r.id
      where r.dag_id like $1 and r.trigger_kind = 'schedule' group by 1 order by 1`,
    [dag],
  );
  return rows;
}

async function withdraw(system: System, ids: readonly string[]): Promise<void> {
  await publish(system, ids, "0 0 1 1 *");
  await system.drained();
}

async function single(system: System, seconds: number): Promise<Figure[]> {
  await publish(system, ["single"], "* * * * * *");
  await until(async () => (await lateness(system, "single")).length > seconds);
  await withdraw(system, ["single"]);
  const late = (await lateness(system, "single")).slice(1);
  const created = late.map((one) => one.createdMs);
  const started = late.map((one) => one.startedMs);
  return [
    figureOf({ id: "B7.late.p99", kind: "F", unit: "ms", runs: [percentile(created, 99)], target: { atMost: 20 } }),
    figureOf({ id: "B7.late.p50", kind: "F", unit: "ms", runs: [percentile(created, 50)] }),
    figureOf({ id: "B7.task-begun.p99", kind: "F", unit: "ms", runs: [percentile(started, 99)] }),
  ];
}

/** Until nothing is due any more for whoever looks from outside: all runs are committed. */
async function storm(system: System, times: (run: () => Promise<number>) => Promise<number[]>): Promise<Figure[]> {
  const ids = Array.from({ length: STORM }, (_, n) => `storm-${n}`);
  await publish(system, ids, "* * * * *");
  const begun: number[] = [];
  const created = await times(async () => {
    const { rows } = await system.pool.query<{ due: Date; inMs: number }>(
      `select date_trunc('minute', sluice.clock()) + interval '1 minute' as due,
              extract(epoch from date_trunc('minute', sluice.clock()) + interval '1 minute' - sluice.clock())::float8 * 1000 as "inMs"`,
    );
    const { due, inMs } = rows[0]!;
    await delay(inMs - QUIET_MS);
    const seconds = await untilFired(system, due);
    await system.drained();
    const whole = (await lateness(system, "storm-%")).find((one) => one.due.getTime() === due.getTime());
    if (whole?.runs !== STORM) throw new Error(`${whole?.runs ?? 0} runs were made instead of ${STORM}`);
    begun.push(whole.startedMs / 1_000);
    return seconds;
  });
  await withdraw(system, ids);
  return [
    figureOf({ id: `B7.${STORM}-at-once.created`, kind: "F", unit: "s", runs: created, target: { atMost: 0.3 } }),
    figureOf({ id: `B7.${STORM}-at-once.begun`, kind: "F", unit: "s", runs: begun.slice(1) }),
  ];
}

/** Seconds after `due` at which nothing is due any more; asked from shortly before on. */
async function untilFired({ pool }: System, due: Date): Promise<number> {
  for (;;) {
    const { rows } = await pool.query<{ seconds: number; left: boolean }>({
      name: "bench-fired",
      text: `select extract(epoch from sluice.clock() - $1::timestamptz)::float8 as seconds,
                    exists (select from sluice.schedule where next_at <= $1) as left`,
      values: [due],
    });
    const { seconds, left } = rows[0]!;
    if (seconds > 0 && !left) return seconds;
    await delay(FIRED_LOOK_MS);
  }
}

async function idle(system: System): Promise<Figure[]> {
  const before = await busyShare(system);
  await publish(
    system,
    Array.from({ length: IDLE }, (_, n) => `idle-${n}`),
    "0 0 1 1 *",
  );
  await delay(SETTLE_MS);
  const after = await busyShare(system);
  return [
    figureOf({ id: `B7.${IDLE}-idle.scheduler`, kind: "cost", unit: "% of a core", runs: [after] }),
    figureOf({
      id: `B7.${IDLE}-idle.added`,
      kind: "cost",
      unit: "% of a core",
      runs: [Math.max(0, after - before)],
      target: { atMost: 0.5 },
    }),
  ];
}

/** Per cent of one processor that the scheduler uses over a minute. */
async function busyShare({ pids }: System): Promise<number> {
  const from = await processorSeconds(pids.scheduler);
  await delay(IDLE_S * 1_000);
  return (((await processorSeconds(pids.scheduler)) - from) / IDLE_S) * 100;
}

/** Fields 14 and 15 of proc_pid_stat(5), in hundredths of a second. */
async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function until(isDone: () => Promise<boolean>): Promise<void> {
  while (!(await isDone())) await delay(LOOK_MS);
}
