import { setTimeout as delay } from "node:timers/promises";
import { pauseDag, unpauseDag } from "#lib/engine/pause.ts";
import { chain } from "../dags.ts";
import { type Figure, figureOf, percentile } from "../report.ts";
import type { Measure, MeasureContext } from "./measure.ts";

const RUNS = 1_000;
const RATES = [100, 200, 300, 400, 500, 600, 700, 800];
const RATE_SECONDS = 5;
const SUSTAINED_P99_MS = 100;

/** B4: 1,000 runs of five tasks let go at once; then runs of two tasks at a rising rate. */
export const manyRuns: Measure = async (context) => {
  const { system, times } = context;
  await system.addDag("chain-5", chain("chain-5", 5));
  const firstSteps: number[] = [];
  const drained = await times(async () => {
    const { seconds, firstStepMs } = await burst(context);
    firstSteps.push(firstStepMs);
    return RUNS / seconds;
  });
  await system.addDag("chain-2", chain("chain-2", 2));
  const figures: Figure[] = [
    figureOf({ id: "B4.drained", kind: "F", unit: "runs/s", runs: drained, target: { atLeast: 1_000 } }),
    figureOf({ id: "B4.first-step.p50", kind: "F", unit: "ms", runs: firstSteps.slice(1), target: { atMost: 350 } }),
  ];
  let sustained = 0;
  for (const rate of RATES) {
    const p99 = await atRate(context, rate);
    figures.push(figureOf({ id: `B4.first-task.p99.at-${rate}`, kind: "F", unit: "ms", runs: [p99] }));
    if (p99 > SUSTAINED_P99_MS) break;
    sustained = rate;
  }
  figures.push(
    figureOf({ id: "B4.sustained", kind: "F", unit: "runs/s", runs: [sustained], target: { atLeast: 500 } }),
  );
  return figures;
};

/** The runs are queued while their DAG is paused, so that the clock starts when all of them may go. */
async function burst({ system }: MeasureContext): Promise<{ seconds: number; firstStepMs: number }> {
  const { deps, pool } = system;
  await pauseDag(deps, "chain-5", "bench");
  const ids = await Promise.all(Array.from({ length: RUNS }, () => system.trigger("chain-5")));
  await unpauseDag(deps, "chain-5");
  await system.drained();
  const { rows } = await pool.query<{ seconds: number; ended: number; firstStepMs: number }>(
    `select extract(epoch from max(r.ended_at) - min(r.started_at))::float8 as seconds,
            count(*) filter (where r.state = 'success')::int as ended,
            percentile_cont(0.5) within group (order by extract(epoch from a.started_at - x.began)) * 1000 as "firstStepMs"
       from sluice.dag_run r
       join sluice.attempt a on a.task_instance_id = r.id << 20
       cross join (select min(started_at) as began from sluice.dag_run where id = any ($1::bigint[])) x
      where r.id = any ($1::bigint[])`,
    [ids],
  );
  if (rows[0]!.ended !== RUNS) throw new Error(`only ${rows[0]!.ended} of ${RUNS} runs ended well`);
  return rows[0]!;
}

/** The 99th percentile of trigger → first task, in ms, with runs triggered at a steady rate, waited for or not. */
async function atRate({ system }: MeasureContext, rate: number): Promise<number> {
  const sent: { at: number; run: Promise<string> }[] = [];
  const began = performance.now();
  for (let n = 0; n < rate * RATE_SECONDS; n++) {
    const due = began + (n * 1_000) / rate;
    if (due > performance.now()) await delay(due - performance.now());
    sent.push({ at: performance.timeOrigin + performance.now(), run: system.trigger("chain-2") });
  }
  const ids = await Promise.all(sent.map(({ run }) => run));
  await system.drained();
  const { rows } = await system.pool.query<{ id: string; at: number }>(
    `select (task_instance_id >> 20)::text as id, extract(epoch from started_at)::float8 * 1000 as at from sluice.attempt
      where task_instance_id in (select id << 20 from unnest($1::bigint[]) id)`,
    [ids],
  );
  const startOf = new Map(rows.map((row) => [row.id, row.at]));
  return percentile(
    sent.map(({ at }, n) => startOf.get(ids[n]!)! - at),
    99,
  );
}
