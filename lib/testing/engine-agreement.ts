import { expect } from "vitest";
import { checkInvariants } from "#lib/db/invariants.ts";
import { inTx } from "#lib/db/tx.ts";
import { slotOf, taskInstanceId } from "#lib/domain/ids.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { type BackfillState, isFinalTaskState, type RunState, type TaskState } from "#lib/domain/states.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { mayHaveEnded, mayHaveStarted } from "./backfill-model.ts";
import {
  begin,
  isHeld,
  type Model,
  type ModelDag,
  modelDag,
  type ModelRun,
  nowS,
  runOf,
  stateOf,
} from "./engine-model.ts";

/** Whether a real engine is in the state of the model, and within its limits; and the DAGs that both are given. */

const bash = (id: string, options: object = {}) => ({ id, type: "bash", config: { command: "true" }, ...options });
export const POOL = { name: "shared", slots: 3 };
/** Of workers; some have it. */
export const LABEL = "gpu";
export const QUEUES = ["default", "solo", "own"] as const;
export type Queue = (typeof QUEUES)[number];
/** Workers and the queues that each serves. Those of one queue alone claim of it without admission what need not be weighed. */
export const QUEUES_OF = {
  one: ["default", "solo"],
  two: ["default", "solo"],
  three: ["own"],
  four: ["own"],
} as const satisfies Record<string, readonly Queue[]>;
export type WorkerId = keyof typeof QUEUES_OF;
export const DAGS: readonly ModelDag[] = [
  {
    id: "chain",
    limits: { maxActiveRuns: 2 },
    // On a queue of its own, so that a worker mostly goes on with the next of them.
    tasks: [
      bash("a", { queue: "solo" }),
      bash("b", { queue: "solo", dependsOn: ["a"] }),
      bash("c", { queue: "solo", dependsOn: ["b"] }),
    ],
  },
  {
    id: "fan",
    limits: { maxActiveTasks: 2 },
    tasks: [
      bash("a"),
      bash("b1", { dependsOn: ["a"], pool: POOL.name }),
      bash("b2", { dependsOn: ["a"], pool: POOL.name, slots: 2 }),
      bash("b3", { dependsOn: ["a"] }),
      // Another task class of the DAG, with a lane and a priority of its own.
      bash("b4", { dependsOn: ["a"], queue: "solo", priority: "low" }),
      bash("end", { dependsOn: ["b1", "b2", "b3", "b4"], triggerRule: "none_failed" }),
    ],
  },
  {
    id: "rules",
    limits: { maxActiveRuns: 1, maxActiveTasksPerRun: 1 },
    tasks: [
      // Task classes that differ by priority, resources and slots, all under the limit of one run.
      bash("work"),
      bash("beside", { priority: "high" }),
      bash("heavy", { priority: "low", resources: { cpu: 3 } }),
      bash("more", { dependsOn: ["work"], priority: "high" }),
      bash("alarm", { dependsOn: ["work", "more"], triggerRule: "one_failed" }),
      bash("any", { dependsOn: ["work", "more"], triggerRule: "one_success" }),
      bash("clean", { dependsOn: ["more", "any", "beside", "heavy"], triggerRule: "all_done" }),
    ],
  },
  {
    id: "labelled",
    tasks: [bash("a", { workerLabels: [LABEL] }), bash("b", { dependsOn: ["a"], workerLabels: [LABEL] })],
  },
  {
    id: "wide",
    tasks: [
      bash("x", { pool: POOL.name }),
      bash("y", { pool: POOL.name }),
      bash("z", { pool: POOL.name, slots: 2, priority: "high" }),
      bash("last", { dependsOn: ["x", "y", "z"], triggerRule: "all_done_min_one_success" }),
    ],
  },
  {
    id: "equal",
    tasks: [
      ...Array.from({ length: 7 }, (_, n) => bash(`e${n}`, { queue: "own" })),
      bash("last", { queue: "own", dependsOn: ["e0", "e6"] }),
    ],
  },
].map((spec) => modelDag(DagSpec.parse({ ...spec, schedule: [{ cron: "0 0 * * *" }] })));

/** Seconds by which the time that a step takes may blur what is due. */
export const BLUR_S = 15;

type RunRow = { id: string; state: RunState };
type BackfillRow = { id: string; state: BackfillState };
type TaskRow = {
  id: string;
  state: TaskState;
  held: boolean;
  began: number;
  look: string | null;
  times: number | null;
};
type LiveRow = { id: string; state: string; token: string | null; worker: string | null; epoch: string | null };

/** `turning`: runs that are pausing or resuming, of which some tasks are held and others are not. */
type All = { runs: RunRow[]; backfills: BackfillRow[]; tasks: TaskRow[]; live: LiveRow[]; turning: Set<string> };

export async function readAll({ pool }: EngineDeps): Promise<All> {
  const runs = await pool.query<RunRow>("select id, state from sluice.dag_run order by id");
  const backfills = await pool.query<BackfillRow>("select id, state from sluice.backfill order by id");
  const tasks = await pool.query<TaskRow>(
    `select t.id, t.state, t.held, f.id as look, f.times,
            (select count(distinct s.number)::int
               from (select number, started_at from sluice.attempt a where a.task_instance_id = t.id
                     union all
                     select number, started_at from sluice.live_attempt a where a.task_instance_id = t.id
                     union all
                     select f.number, f.started_at) s
              where s.started_at is not null) as began
       from sluice.task_instance t left join sluice.deferral f on f.task_instance_id = t.id order by t.id`,
  );
  const live = await pool.query<LiveRow>(
    `select task_instance_id as id, state, token::text, worker_id as worker, worker_epoch as epoch
       from sluice.live_attempt order by task_instance_id`,
  );
  const turning = await pool.query<{ id: string }>(
    "select run_id as id from sluice.run_action where kind in ('pause', 'resume')",
  );
  return {
    runs: runs.rows,
    backfills: backfills.rows,
    tasks: tasks.rows,
    live: live.rows,
    turning: new Set(turning.rows.map(({ id }) => id)),
  };
}

/** What was handed out is the same to the model as what is ready. */
const seen = (state: TaskState): TaskState => (state === "queued" || state === "running" ? "ready" : state);

/** Takes over what the engine may decide when it likes, and compares all the rest. */
export async function agree(model: Model, deps: EngineDeps): Promise<void> {
  const real = await readAll(deps);
  const started: ModelRun[] = [];
  for (const run of model.runs) {
    const row = real.runs.find(({ id }) => id === run.id)!;
    if (run.state !== "queued" || row.state !== "running") continue;
    begin(run);
    started.push(run);
  }
  mayHaveStarted(model, started);
  for (const { id, state } of real.tasks) {
    const waited = stateOf(model, id);
    if (state === waited || (waited !== "retrying" && waited !== "deferred")) continue;
    if (model.dueAtS.get(id)! - nowS(model) >= BLUR_S) continue;
    runOf(model, id).tasks[slotOf(id)] = "ready";
  }
  mayHaveEnded(model, real.backfills);
  expect(real.backfills).toEqual(model.backfills.map(({ id, state }) => ({ id, state })));
  expect(real.runs).toEqual(model.runs.map(({ id, state }) => ({ id, state })));
  const isMarked = (run: ModelRun, state: TaskState): boolean =>
    !isFinalTaskState(state) && !run.isAsked && !real.turning.has(run.id);
  const expected = model.runs.flatMap((run) =>
    run.tasks.map((state, ord) => {
      const id = taskInstanceId(run.id, ord);
      const held = isMarked(run, state) ? isHeld(model, run) : null;
      const { attemptId = null, times = null } = model.looking.get(id) ?? {};
      return { id, state, held, began: model.claims.get(id) ?? 0, look: attemptId, times };
    }),
  );
  expect(
    real.tasks.map((task) => ({
      ...task,
      state: seen(task.state),
      held: isMarked(runOf(model, task.id), task.state) ? task.held : null,
    })),
  ).toEqual(expected);
  expect(real.live.filter(({ state }) => state === "running")).toEqual(
    [...model.holdings]
      .toSorted(([a], [b]) => (BigInt(a) < BigInt(b) ? -1 : 1))
      .map(([id, { claimed, worker }]) => {
        return { id, state: "running", token: claimed.token, worker: worker.id, epoch: worker.epoch };
      }),
  );
  for (const { id } of real.live.filter(({ state }) => state === "queued")) {
    const run = runOf(model, id);
    // What a pause has not taken back yet is left to a cancel that replaces the pause; no worker gets it.
    const isBeingChanged = run.isAsked || real.turning.has(run.id);
    expect([stateOf(model, id), isHeld(model, run) && !isBeingChanged]).toEqual(["ready", false]);
  }
  const findings = await inTx(deps.pool, checkInvariants);
  // Time passes in leaps here, and nobody sweeps until a step says so.
  const broken = findings.filter(({ id, broken: rows }) => rows.length > 0 && id !== "leases" && id !== "deliveries");
  expect(broken).toEqual([]);
}
