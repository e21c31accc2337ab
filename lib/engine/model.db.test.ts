import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { WorkerRef } from "#lib/db/claims.ts";
import { type Continued, type Finish, finishRunning } from "#lib/db/finishes.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { releaseExpired } from "#lib/db/lost-attempts.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { renewLeases, setWorkerState } from "#lib/db/workers.ts";
import { slotOf, taskInstanceId } from "#lib/domain/ids.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { isFinalRunState, isFinalTaskState, type RunState, type TaskState } from "#lib/domain/states.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { moveClock, registration, start } from "#lib/testing/engine.ts";
import {
  begin,
  below,
  cancels,
  claims,
  clears,
  emptyModel,
  ends,
  handsBack,
  heldBy,
  isHeld,
  kills,
  loses,
  marks,
  type Model,
  type ModelDag,
  modelDag,
  type ModelRun,
  runOf,
  settled,
  stateOf,
} from "#lib/testing/engine-model.ts";
import { admit, admitRetries, patrolAdmission } from "./admit.ts";
import { claim } from "./claim.ts";
import { finish } from "./finish.ts";
import { LEASE_MS, LOST_ALLOWANCE } from "./lease.ts";
import { pauseDag, pauseRun, resumeRun, unpauseDag } from "./pause.ts";
import { cancelRun, clearRun, clearTask, killTask, type Mark, markTask } from "./run-actions.ts";
import { registerWorker } from "./register-worker.ts";
import { startAllQueuedRuns } from "./start-queued-runs.ts";
import { handBack, sweep } from "./sweep.ts";

/**
 * Random histories of everything that happens to an engine, one after the other, on a real Postgres: after each step
 * the tables and the model say the same and every invariant holds, and when all is mended every run ends.
 */

const database = testDatabase();
const anna = { actor: "anna" };

const bash = (id: string, options: object = {}) => ({ id, type: "bash", config: { command: "true" }, ...options });
const POOL = { name: "shared", slots: 3 };
const QUEUES = ["default", "solo"] as const;
type Queue = (typeof QUEUES)[number];
const DAGS: readonly ModelDag[] = [
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
      bash("end", { dependsOn: ["b1", "b2", "b3"], triggerRule: "none_failed" }),
    ],
  },
  {
    id: "rules",
    limits: { maxActiveRuns: 1, maxActiveTasksPerRun: 1 },
    tasks: [
      bash("work"),
      bash("more", { dependsOn: ["work"] }),
      bash("alarm", { dependsOn: ["work", "more"], triggerRule: "one_failed" }),
      bash("any", { dependsOn: ["work", "more"], triggerRule: "one_success" }),
      bash("clean", { dependsOn: ["more", "any"], triggerRule: "all_done" }),
    ],
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
].map((spec) => modelDag(DagSpec.parse(spec)));

type Command = fc.AsyncCommand<Model, null>;

/** A step: what the model must be like for it, and what it does to the engine and to the model. */
function step(
  name: string,
  args: object,
  check: (model: Model) => boolean,
  run: (model: Model) => Promise<void>,
): Command {
  return {
    check,
    run: async (model) => {
      const before = await occupancy();
      await run(model);
      await agree(model);
      await limitsHold(before);
    },
    toString: () => `${name} ${JSON.stringify(args)}`,
  };
}

const pick = <T>(list: readonly T[], roll: number): T => list[roll % list.length]!;
const of = (model: Model, accepts: (run: ModelRun) => boolean): ModelRun[] => model.runs.filter(accepts);
const hasTasks = (run: ModelRun): boolean => run.tasks.length > 0;
const isOpen = (run: ModelRun): boolean => !isFinalRunState(run.state);

const MAX_RUNS = 10;

const startRun = (dag: ModelDag): Command =>
  step(
    `start a run of ${dag.spec.id}`,
    {},
    (model) => model.runs.length < MAX_RUNS,
    async (model) => {
      const id = await start(database.deps, dag.spec.id);
      model.runs.push({ id, dag, state: "queued", tasks: [], isPaused: false });
    },
  );

/** Starts a worker, or starts it again: what its name was running is lost. */
const startWorker = (id: string, slots: number): Command =>
  step(
    `start worker ${id}`,
    { slots },
    () => true,
    async (model) => {
      const old = model.workers.get(id)?.ref;
      const ref = await join(id, slots);
      model.workers.set(id, { ref, state: "active" });
      if (!old) return;
      model.replaced.push(old);
      const lost = [...model.holdings].filter(([, holding]) => holding.worker.id === id).map(([taskId]) => taskId);
      loses(model, lost, LOST_ALLOWANCE);
    },
  );

const claimWith = (id: string, queue: Queue, max: number): Command =>
  step(
    `claim with ${id}`,
    { queue, max },
    (model) => model.workers.has(id),
    async (model) => {
      const { ref, state } = model.workers.get(id)!;
      const claimed = await claimFrom(ref, queue, max);
      expect(claimed.length).toBeLessThanOrEqual(state === "active" ? max : 0);
      for (const attempt of claimed) takes(model, ref, attempt);
    },
  );

function claimFrom(ref: WorkerRef, queue: Queue, max: number): Promise<Continued[]> {
  const { deps } = database;
  const tokens = Array.from({ length: max }, deps.newToken);
  return claim(deps, ref, { queue, slotClass: "process" }, tokens).then(({ claimed }) => claimed);
}

function join(id: string, slots: number): Promise<WorkerRef> {
  return registerWorker(database.deps, { ...registration(id, slots), queues: QUEUES });
}

function takes(model: Model, ref: WorkerRef, claimed: Continued): void {
  expect(stateOf(model, claimed.taskInstanceId)).toBe("ready");
  expect(model.holdings.has(claimed.taskInstanceId)).toBe(false);
  expect(isHeld(model, runOf(model, claimed.taskInstanceId))).toBe(false);
  claims(model, ref, claimed);
}

const claimAsReplaced = (roll: number): Command =>
  step(
    "claim as a process that was replaced",
    { roll },
    (model) => model.replaced.length > 0,
    async (model) => {
      const ghost = pick(model.replaced, roll);
      for (const queue of QUEUES) expect(await claimFrom(ghost, queue, 5)).toEqual([]);
      expect((await renewLeases(database.pool, ghost, [], LEASE_MS)).workerState).toBeUndefined();
    },
  );

const heartbeat = (id: string): Command =>
  step(
    `heartbeat of ${id}`,
    {},
    (model) => model.workers.has(id),
    async (model) => {
      const { ref } = model.workers.get(id)!;
      const mine = heldBy(model, ref).map((taskId) => model.holdings.get(taskId)!);
      // It may ask for what it has lost as well.
      const asked = [...mine.map(({ claimed }) => claimed), ...model.over];
      const { held } = await renewLeases(database.pool, ref, asked, LEASE_MS);
      expect(held.toSorted()).toEqual(mine.map(({ claimed }) => claimed.attemptId).toSorted());
      for (const holding of mine) holding.renewedAtS = model.clockS;
    },
  );

const drain = (id: string): Command =>
  step(
    `drain ${id}`,
    {},
    (model) => model.workers.get(id)?.state === "active",
    async (model) => {
      const known = model.workers.get(id)!;
      await setWorkerState(database.pool, known.ref, "draining");
      known.state = "draining";
    },
  );

const handBackAll = (id: string): Command =>
  step(
    `hand back what ${id} has`,
    {},
    (model) => model.workers.has(id),
    async (model) => {
      const { ref } = model.workers.get(id)!;
      await handBack(database.deps, ref);
      handsBack(model, ref);
    },
  );

type End = { roll: number; isLate: boolean; end: Finish["state"]; retryS: number | null };

/** Ends of one batch, of live attempts and of ones that were taken away, also of the same task. */
const end = (batch: readonly End[], handsOn: boolean): Command =>
  step(
    handsOn ? "end" : "end and die before handing on",
    batch,
    (model) => model.holdings.size > 0 || (model.over.length > 0 && batch.some(({ isLate }) => isLate)),
    async (model) => {
      const { pool, deps } = database;
      const live = [...model.holdings.values()];
      const chosen = new Map<string, { claimed: Continued } & End>();
      for (const one of batch) {
        const list = one.isLate || live.length === 0 ? model.over : live.map(({ claimed }) => claimed);
        if (list.length > 0) chosen.set(pick(list, one.roll).token, { claimed: pick(list, one.roll), ...one });
      }
      const wanted = [...chosen.values()].map(({ claimed, end: state, retryS }): Finish & { token: string } => {
        const retryInMs = state === "failed" && retryS !== null ? retryS * 1_000 : undefined;
        const next = handsOn ? undefined : { attemptId: randomUUID(), token: randomUUID() };
        return { taskInstanceId: claimed.taskInstanceId, token: claimed.token, state, reason: "EXIT", retryInMs, next };
      });
      const good = wanted.filter(({ taskInstanceId: id, token }) => model.holdings.get(id)?.claimed.token === token);
      const holders = new Map(good.map(({ taskInstanceId: id }) => [id, model.holdings.get(id)!.worker]));
      const accept = (accepted: readonly string[]): void => {
        expect(accepted.toSorted()).toEqual(good.map(({ taskInstanceId: id }) => id).toSorted());
        ends(
          model,
          good.map(({ taskInstanceId: taskId, state, retryInMs }) => ({
            taskId,
            state: retryInMs === undefined ? state : retryInMs === 0 ? "ready" : "retrying",
            dueAtS: retryInMs === undefined ? undefined : model.clockS + retryInMs / 1_000,
          })),
        );
      };
      if (handsOn) {
        accept(await finish(deps, wanted, "worker:model"));
        // One that is tried again ends nothing, and so settles nothing that somebody else has left.
        for (const { taskInstanceId: id, retryInMs } of good) if (retryInMs === undefined) settled(runOf(model, id));
      } else {
        const finished = await finishRunning(pool, wanted, "worker:model", LEASE_MS);
        accept(finished.accepted);
        for (const [after, child] of finished.continued) {
          const holder = holders.get(after)!;
          expect(model.workers.get(holder.id)).toEqual({ ref: holder, state: "active" });
          takes(model, holder, child);
        }
      }
    },
  );

/** Seconds by which the real time that passes may blur what is due. */
const BLUR_S = 15;

/** Fewer than in earnest, so that short histories get there. */
const LEASES_LOST_ALLOWANCE = 1;

/** What a sweep does about leases that have run out; the test's server is too young for the guard of that one. */
async function expire(model: Model): Promise<void> {
  const { pool } = database;
  const before = [...model.holdings];
  await releaseLost();
  const { rows } = await pool.query<{ id: string }>(
    "select task_instance_id as id from sluice.live_attempt where state = 'running'",
  );
  const left = new Set(rows.map(({ id }) => id));
  const lost = before.filter(([taskId]) => !left.has(taskId));
  const age = (renewedAtS: number): number => model.clockS - renewedAtS - LEASE_MS / 1_000;
  for (const [, { renewedAtS }] of lost) expect(age(renewedAtS)).toBeGreaterThan(-BLUR_S);
  for (const [taskId, { renewedAtS }] of before) if (left.has(taskId)) expect(age(renewedAtS)).toBeLessThan(0);
  loses(
    model,
    lost.map(([taskId]) => taskId),
    LEASES_LOST_ALLOWANCE,
  );
}

async function releaseLost(): Promise<void> {
  const { pool, deps } = database;
  const { exhausted } = await releaseExpired(pool, 0, LEASES_LOST_ALLOWANCE);
  const given = exhausted.map((one) => ({ ...one, state: "failed" as const, reason: "WORKER_LOST" }));
  if (given.length > 0) await finish(deps, given, "sweep");
  await admit(deps);
}

const sweeps = step(
  "sweep",
  {},
  () => true,
  async (model) => {
    await expire(model);
    await sweep(database.deps);
    for (const run of model.runs) settled(run);
  },
);

const patrol = step(
  "a scheduler's look",
  {},
  () => true,
  async (model) => {
    await patrolAdmission(database.deps);
    await retriesAreReady(model);
    // What is passed over is told why.
    const { rows } = await database.pool.query(
      `select distinct t.workload_id from sluice.task_instance t
        where t.state = 'ready' and not t.held
          and not exists (select from sluice.workload_wait x where x.workload_id = t.workload_id)`,
    );
    expect(rows).toEqual([]);
  },
);

const retries = step(
  "look for due retries",
  {},
  () => true,
  async (model) => {
    await admitRetries(database.deps);
    await retriesAreReady(model);
  },
);

/** No retry that is due is left. */
async function retriesAreReady(model: Model): Promise<void> {
  const { rows } = await database.pool.query<{ id: string }>(
    "select id from sluice.task_instance where state = 'retrying'",
  );
  for (const { id } of rows) expect(model.dueAtS.get(id)).toBeGreaterThan(model.clockS);
}

const startQueued = step(
  "look for runs to start",
  {},
  () => true,
  async (model) => {
    await startAllQueuedRuns(database.deps);
    const { rows } = await database.pool.query<{ dag: string; going: number; waiting: number }>(
      `select dag_id as dag, count(*) filter (where state = 'running')::int as going,
              count(*) filter (where state = 'queued' and paused_by is null)::int as waiting
         from sluice.dag_run group by 1`,
    );
    for (const { dag, going, waiting } of rows) {
      const limit = DAGS.find(({ spec }) => spec.id === dag)!.spec.limits.maxActiveRuns;
      if (waiting > 0 && !model.pausedDags.has(dag)) expect(going).toBeGreaterThanOrEqual(limit);
    }
  },
);

const passTime = (seconds: number): Command =>
  step(
    "the clock moves",
    { seconds },
    () => true,
    async (model) => {
      model.clockS += seconds;
      await moveClock(database.deps, `${model.clockS} s`);
    },
  );

const onRun = (
  name: string,
  roll: number,
  accepts: (run: ModelRun) => boolean,
  act: (model: Model, run: ModelRun) => Promise<void>,
): Command =>
  step(
    name,
    { roll },
    (model) => of(model, accepts).length > 0,
    (model) => act(model, pick(of(model, accepts), roll)),
  );

const onTask = (
  name: string,
  roll: number,
  act: (model: Model, run: ModelRun, ord: number, taskId: string) => Promise<void>,
): Command =>
  onRun(name, roll, hasTasks, (model, run) => {
    const ord = Math.floor(roll / MAX_RUNS) % run.tasks.length;
    return act(model, run, ord, taskInstanceId(run.id, ord));
  });

const people = {
  cancel: (roll: number) =>
    onRun(
      "cancel",
      roll,
      () => true,
      async (model, run) => {
        expect(await cancelRun(database.deps, run.id, anna)).toBe(isOpen(run));
        if (isOpen(run)) cancels(model, run);
      },
    ),
  clear: (roll: number) =>
    onTask("clear", roll, async (model, run, ord, taskId) => {
      await clearTask(database.deps, taskId, anna);
      clears(model, run, below(run, ord));
    }),
  clearFailed: (roll: number) =>
    onRun(
      "clear what failed",
      roll,
      () => true,
      async (model, run) => {
        const isBad = (state: TaskState): boolean => ["failed", "upstream_failed", "cancelled"].includes(state);
        const bad = new Set(run.tasks.flatMap((state, ord) => (isBad(state) ? [ord] : [])));
        expect(await clearRun(database.deps, run.id, { onlyFailed: true }, anna)).toBe(bad.size > 0);
        if (bad.size > 0) clears(model, run, bad);
      },
    ),
  mark: (roll: number, mark: Mark) =>
    onTask(`mark ${mark}`, roll, async (model, run, ord, taskId) => {
      const differs = run.tasks[ord] !== mark;
      expect(await markTask(database.deps, taskId, mark, anna)).toBe(differs);
      if (differs) marks(model, run, ord, mark);
    }),
  kill: (roll: number) =>
    onTask("kill", roll, async (model, run, ord, taskId) => {
      const goesOn = !isFinalTaskState(run.tasks[ord]!) && run.tasks[ord] !== "waiting";
      expect(await killTask(database.deps, taskId, anna)).toBe(goesOn);
      if (goesOn) kills(model, run, ord);
    }),
  pause: (roll: number) =>
    onRun("pause", roll, isOpen, async (_, run) => {
      expect(await pauseRun(database.deps, run.id, "anna")).toBe(true);
      run.isPaused = true;
    }),
  resume: (roll: number) =>
    onRun(
      "resume",
      roll,
      (run) => isOpen(run) && run.isPaused,
      async (_, run) => {
        expect(await resumeRun(database.deps, run.id)).toBe(true);
        run.isPaused = false;
      },
    ),
  pauseDag: (dag: ModelDag) =>
    step(
      `pause ${dag.spec.id}`,
      {},
      () => true,
      async ({ pausedDags }) => {
        await pauseDag(database.deps, dag.spec.id, "anna");
        pausedDags.add(dag.spec.id);
      },
    ),
  unpauseDag: (dag: ModelDag) =>
    step(
      `go on with ${dag.spec.id}`,
      {},
      ({ pausedDags }) => pausedDags.has(dag.spec.id),
      async ({ pausedDags }) => {
        await unpauseDag(database.deps, dag.spec.id);
        pausedDags.delete(dag.spec.id);
      },
    ),
  resize: (slots: number) =>
    step(
      "resize the pool",
      { slots },
      () => true,
      async () => {
        await upsertPool(database.pool, POOL.name, slots, undefined);
        await admit(database.deps);
      },
    ),
};

type RunRow = { id: string; state: RunState; unsettled: boolean };
type TaskRow = { id: string; state: TaskState; held: boolean; began: number };
type LiveRow = { id: string; state: string; token: string | null; worker: string | null; epoch: string | null };

async function read() {
  const { pool } = database;
  const runs = await pool.query<RunRow>(
    `select r.id, r.state, coalesce(p.unsettled, false) as unsettled
       from sluice.dag_run r left join sluice.run_progress p on p.run_id = r.id order by r.id`,
  );
  const tasks = await pool.query<TaskRow>(
    `select t.id, t.state, t.held,
            (select count(*)::int from (select started_at from sluice.attempt a where a.task_instance_id = t.id
                                        union all
                                        select started_at from sluice.live_attempt a where a.task_instance_id = t.id) s
              where s.started_at is not null) as began
       from sluice.task_instance t order by t.id`,
  );
  const live = await pool.query<LiveRow>(
    `select task_instance_id as id, state, token::text, worker_id as worker, worker_epoch as epoch
       from sluice.live_attempt order by task_instance_id`,
  );
  return { runs: runs.rows, tasks: tasks.rows, live: live.rows };
}

/** What was handed out is the same to the model as what is ready. */
const seen = (state: TaskState): TaskState => (state === "queued" || state === "running" ? "ready" : state);

/** Takes over what the engine may decide when it likes, and compares all the rest. */
async function agree(model: Model): Promise<void> {
  const real = await read();
  for (const run of model.runs) {
    const row = real.runs.find(({ id }) => id === run.id)!;
    if (run.state !== "queued" || row.state !== "running") continue;
    expect(isHeld(model, run)).toBe(false);
    begin(run);
    // One that was made to go again may be beyond the limit; it keeps others from starting.
    const together = of(model, (other) => other.dag === run.dag && other.state === "running");
    expect(together.length).toBeLessThanOrEqual(run.dag.spec.limits.maxActiveRuns);
  }
  for (const { id, state } of real.tasks) {
    if (state === "retrying" || stateOf(model, id) !== "retrying") continue;
    if (model.dueAtS.get(id)! - model.clockS >= BLUR_S) continue;
    runOf(model, id).tasks[slotOf(id)] = "ready";
  }
  expect(real.runs.map(({ id, state }) => ({ id, state }))).toEqual(model.runs.map(({ id, state }) => ({ id, state })));
  const expected = model.runs.flatMap((run) =>
    run.tasks.map((state, ord) => {
      const id = taskInstanceId(run.id, ord);
      const held = isFinalTaskState(state) ? null : isHeld(model, run);
      return { id, state, held, began: model.claims.get(id) ?? 0 };
    }),
  );
  expect(
    real.tasks.map(({ id, state, held, began }) => ({
      id,
      state: seen(state),
      held: isFinalTaskState(state) ? null : held,
      began,
    })),
  ).toEqual(expected);
  expect(real.live.filter(({ state }) => state === "running")).toEqual(
    [...model.holdings]
      .toSorted(([a], [b]) => (BigInt(a) < BigInt(b) ? -1 : 1))
      .map(
        ([
          id,
          {
            claimed,
            worker: { id: name, epoch },
          },
        ]) => {
          return { id, state: "running", token: claimed.token, worker: name, epoch };
        },
      ),
  );
  for (const { id } of real.live.filter(({ state }) => state === "queued")) {
    expect([stateOf(model, id), isHeld(model, runOf(model, id))]).toEqual(["ready", false]);
  }
  const findings = await inTx(database.pool, checkInvariants);
  // Time passes in leaps here, and nobody sweeps until a step says so.
  const broken = findings.filter(({ id, broken: rows }) => rows.length > 0 && id !== "leases" && id !== "deliveries");
  expect(broken).toEqual([]);
}

type Occupancy = { dags: Map<string, number>; run: number; pool: number; size: number };

async function occupancy(): Promise<Occupancy> {
  const { rows } = await database.pool.query<{ dag: string; run: string; pool: number; n: number }>(
    `select w.dag_id as dag, a.task_instance_id >> 20 as run, count(*)::int as n,
            coalesce(sum(w.slots) filter (where w.pool = $1), 0)::int as pool
       from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id group by 1, 2`,
    [POOL.name],
  );
  const dags = new Map(DAGS.map(({ spec }) => [spec.id, 0]));
  for (const { dag, n } of rows) dags.set(dag, dags.get(dag)! + n);
  const { rows: pools } = await database.pool.query<{ slots: number }>(
    "select slots from sluice.pool where name = $1",
    [POOL.name],
  );
  return {
    dags,
    run: Math.max(0, ...rows.filter(({ dag }) => dag === "rules").map(({ n }) => n)),
    pool: rows.reduce((sum, row) => sum + row.pool, 0),
    size: pools[0]!.slots,
  };
}

async function limitsHold(before: Occupancy): Promise<void> {
  const now = await occupancy();
  for (const { spec } of DAGS)
    expect(now.dags.get(spec.id)).toBeLessThanOrEqual(spec.limits.maxActiveTasks ?? Infinity);
  expect(now.run).toBeLessThanOrEqual(1);
  // A pool that was made smaller lets what runs end.
  expect(now.pool).toBeLessThanOrEqual(Math.max(now.size, before.pool));
}

/** Everything is mended, and all that is left succeeds: every run must end. */
async function heal(model: Model): Promise<void> {
  const { deps, pool } = database;
  for (const dagId of model.pausedDags) await unpauseDag(deps, dagId);
  for (const run of model.runs) if (run.isPaused && isOpen(run)) await resumeRun(deps, run.id);
  await upsertPool(pool, POOL.name, POOL.slots, undefined);
  await moveClock(deps, `${model.clockS + 600} s`);
  const healer = await join("healer", 100);
  await releaseLost();
  for (let round = 0; round < 100; round++) {
    await sweep(deps);
    await startAllQueuedRuns(deps);
    await patrolAdmission(deps);
    const claimed = [...(await claimFrom(healer, "default", 100)), ...(await claimFrom(healer, "solo", 100))];
    const batch = claimed.map(({ taskInstanceId: id, token }) => {
      return { taskInstanceId: id, token, state: "success" as const, reason: "EXIT" };
    });
    if (batch.length > 0) expect(await finish(deps, batch, "worker:healer")).toHaveLength(batch.length);
    const { rowCount } = await pool.query("select from sluice.dag_run where state in ('queued', 'running')");
    if (rowCount === 0) break;
  }
  const { runs, live } = await read();
  expect(runs.filter(({ state }) => !isFinalRunState(state))).toEqual([]);
  expect(live).toEqual([]);
  const findings = await inTx(pool, checkInvariants);
  expect(findings.filter(({ broken }) => broken.length > 0)).toEqual([]);
}

const roll = fc.nat(1_000);
const aDag = fc.constantFrom(...DAGS);
const aQueue = fc.constantFrom(...QUEUES);
const aWorker = fc.constantFrom("one", "two");
const oneEnd: fc.Arbitrary<End> = fc.record({
  roll,
  isLate: fc.constantFrom(false, false, false, true),
  end: fc.constantFrom<Finish["state"]>("success", "success", "success", "failed", "failed", "skipped"),
  retryS: fc.constantFrom(null, 0, 5, 40),
});
const aBatch = fc.array(oneEnd, { minLength: 1, maxLength: 3 });

/** How often each comes, against the others. */
const WEIGHTED: readonly [number, fc.Arbitrary<Command>][] = [
  [4, aDag.map(startRun)],
  [16, fc.tuple(aWorker, aQueue, fc.integer({ min: 1, max: 5 })).map((how) => claimWith(...how))],
  [16, fc.tuple(aBatch, fc.boolean()).map(([batch, handsOn]) => end(batch, handsOn))],
  [2, fc.tuple(aWorker, fc.integer({ min: 2, max: 4 })).map(([id, slots]) => startWorker(id, slots))],
  [1, roll.map(claimAsReplaced)],
  [4, aWorker.map(heartbeat)],
  [1, aWorker.map(drain)],
  [1, aWorker.map(handBackAll)],
  [4, fc.constantFrom(-20, 1, 5, 5, 31, 90).map(passTime)],
  [3, fc.constant(sweeps)],
  [4, fc.constant(patrol)],
  [2, fc.constant(retries)],
  [2, fc.constant(startQueued)],
  [1, roll.map(people.cancel)],
  [2, roll.map(people.clear)],
  [2, roll.map(people.clearFailed)],
  [2, fc.tuple(roll, fc.constantFrom<Mark>("success", "failed", "skipped")).map(([n, mark]) => people.mark(n, mark))],
  [1, roll.map(people.kill)],
  [1, roll.map(people.pause)],
  [4, roll.map(people.resume)],
  [1, aDag.map(people.pauseDag)],
  [4, aDag.map(people.unpauseDag)],
  [1, fc.integer({ min: 1, max: 4 }).map(people.resize)],
];
const commands = fc.commands(
  WEIGHTED.flatMap(([weight, command]) => Array.from({ length: weight }, () => command)),
  { maxCommands: 100, size: "max" },
);

/** An engine with two workers and a run of each DAG. */
async function setUp(): Promise<{ model: Model; real: null }> {
  const { deps, pool } = database;
  await moveClock(deps, "0");
  await pool.query(
    "truncate sluice.dag_run, sluice.run_progress, sluice.task_instance, sluice.live_attempt, sluice.attempt, sluice.event, sluice.worker, sluice.dead_letter, sluice.xcom, sluice.workload_wait, sluice_boss.job",
  );
  await pool.query("update sluice.dag set paused_by = null");
  await upsertPool(pool, POOL.name, POOL.slots, undefined);
  const model = emptyModel();
  for (const id of ["one", "two"]) model.workers.set(id, { ref: await join(id, 3), state: "active" });
  for (const dag of DAGS) {
    const run: ModelRun = { id: await start(deps, dag.spec.id), dag, state: "queued", tasks: [], isPaused: false };
    model.runs.push(run);
    begin(run);
  }
  return { model, real: null };
}

test("whatever happens, the engine does what the model says, and all that was started ends", async () => {
  for (const { spec } of DAGS) {
    await inTx(database.pool, (tx) =>
      publishVersion(tx, spec, { file: `${spec.id}.yaml`, source: "", author: "test" }),
    );
  }
  await fc.assert(
    fc.asyncProperty(commands, async (history) => {
      const state = await setUp();
      await fc.asyncModelRun(() => state, history);
      await heal(state.model);
    }),
    // A failure is made small for so long and not longer: what there is by then is reported, with its seed.
    { numRuns: 60, interruptAfterTimeLimit: 120_000 },
  );
}, 180_000);
