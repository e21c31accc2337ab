import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { readyDue } from "#lib/db/admission.ts";
import type { Claimed } from "#lib/db/claims.ts";
import { type Finish, finishRunning } from "#lib/db/finishes.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { releaseDrained, releaseExpired, releasePredecessors, releaseUnheard } from "#lib/db/lost-attempts.ts";
import { inTx } from "#lib/db/tx.ts";
import { unadmitAbandoned } from "#lib/db/unadmit.ts";
import { renewLeases, setWorkerState, upsertWorker } from "#lib/db/workers.ts";
import { FINAL_TASK_STATES, TASK_MOVES, TASK_STATES, type TaskState } from "#lib/domain/states.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, moveClock, patrolAdmission, registration } from "#lib/testing/engine.ts";
import { movesOf } from "#lib/testing/moves.ts";
import { LOOKING, publishScene, REACH, REACH_LOOK, type Scene, SCENE_DAG } from "#lib/testing/task-scenes.ts";
import { admit } from "./admit.ts";
import { LEASE_MS, LOST_ALLOWANCE } from "./lease.ts";
import { pauseDag, pauseRun, resumeRun, unpauseDag } from "./pause.ts";
import { cancelRun, clearRun, clearTask, killTask, type Mark, markTask } from "./run-actions.ts";
import { settleRun } from "./settle-run.ts";
import { startAllQueuedRuns } from "./start-all-queued-runs.ts";
import { sweep, takeOverFromPredecessors } from "./sweep.ts";

/** Every transition of a task instance from every state, on a real Postgres. */

const database = testDatabase();
const anna = { actor: "anna" };

type End = Pick<Finish, "state" | "output" | "retryInMs" | "lookInMs" | "next">;

type Transition = {
  does: (scene: Scene) => Promise<unknown>;
  /** What becomes of each state; one that is not named stays as it is. */
  moves: Partial<Record<TaskState, TaskState>>;
  /** It answers whether it did anything. */
  tells?: true;
};

const each = (states: readonly TaskState[], to: TaskState): Transition["moves"] =>
  Object.fromEntries(states.map((state) => [state, to]));
const OPEN = TASK_STATES.filter((state) => !FINAL_TASK_STATES.includes(state));

const deps = (): typeof database.deps => database.deps;

/** How an attempt may end, and what that makes of a running task. */
const ENDED = Object.entries<[End, TaskState]>({
  success: [{ state: "success", output: "1" }, "success"],
  failure: [{ state: "failed" }, "failed"],
  skip: [{ state: "skipped" }, "skipped"],
  "failure with a retry later": [{ state: "failed", retryInMs: 60_000 }, "retrying"],
  "failure with a retry at once": [{ state: "failed", retryInMs: 0 }, "ready"],
  "look that says not yet": [{ state: "deferred", lookInMs: 60_000 }, "deferred"],
});

async function isAccepted({ taskInstanceId: id, token }: Claimed, end: End): Promise<boolean> {
  const batch = [{ taskInstanceId: id, token, reason: "EXIT", ...end }];
  // What becomes ready is seen as ready: another task waits for the lane. A child that continues is another move.
  if (end.next === undefined)
    await database.pool.query(
      "insert into sluice.contention (key) select 'lane:' || id from sluice.lane on conflict do nothing",
    );
  const { accepted, unsettledRuns } = await finishRunning(database.pool, batch, "worker:w", LEASE_MS);
  for (const runId of unsettledRuns) await settleRun(deps(), runId);
  return accepted.length === 1;
}

function everyEnd(name: string, runs: boolean, by: (scene: Scene) => Claimed): Record<string, Transition> {
  const one = ([end, [finished, to]]: (typeof ENDED)[number]): [string, Transition] => [
    `${end} ${name}`,
    { does: (scene) => isAccepted(by(scene), finished), moves: runs ? { running: to } : {}, tells: true },
  ];
  return Object.fromEntries(ENDED.map(one));
}

/** What the system does by itself. */
const ENGINE: Record<string, Transition> = {
  admission: { does: () => admit(deps()), moves: { ready: "queued" } },
  "a scheduler's look": { does: () => patrolAdmission(deps()), moves: { ready: "queued" } },
  "looking for runs to start": { does: () => startAllQueuedRuns(deps()), moves: {} },

  "a claim": { does: ({ worker: w }) => claimAll(deps(), w), moves: { queued: "running" } },
  "a claim by a worker that drains": {
    does: async ({ worker: w }) => {
      await setWorkerState(database.pool, w, "draining");
      await claimAll(deps(), w);
    },
    moves: {},
  },
  "a claim by a process that another has replaced": {
    does: async ({ worker: w }) => {
      await upsertWorker(database.pool, registration("w"), LEASE_MS);
      await claimAll(deps(), w);
    },
    moves: {},
  },
  "a heartbeat": {
    does: ({ worker: w, last }) => renewLeases(database.pool, w, [last], LEASE_MS),
    moves: {},
  },

  ...everyEnd("under the live token", true, ({ last }) => last),
  ...everyEnd("under the token of an earlier attempt", false, ({ first }) => first),
  ...everyEnd("under a token that nobody was given", false, ({ last }) => ({ ...last, token: randomUUID() })),

  "a sweep while its lease is good": {
    does: async () => {
      await releaseExpired(database.pool, 0, LOST_ALLOWANCE);
      await sweep(deps());
    },
    moves: {},
  },
  "its lease running out": {
    does: async () => {
      await moveClock(deps(), "1 hour");
      await releaseExpired(database.pool, 0, LOST_ALLOWANCE);
    },
    moves: { running: "ready" },
  },
  "its worker starting again": {
    does: async () => {
      const reborn = await upsertWorker(database.pool, registration("w"), LEASE_MS);
      await releasePredecessors(database.pool, reborn, LOST_ALLOWANCE);
    },
    moves: { running: "ready" },
  },
  "its worker starting again once too often": {
    does: async ({ last }) => {
      const { pool } = database;
      const lost = [last.taskInstanceId, LOST_ALLOWANCE];
      await pool.query("update sluice.task_instance set lost_attempts = $2 where id = $1", lost);
      await takeOverFromPredecessors(deps(), await upsertWorker(pool, registration("w"), LEASE_MS));
    },
    moves: { running: "failed" },
  },
  "its worker stopping": {
    does: ({ worker: w }) => releaseDrained(database.pool, w),
    moves: { running: "ready" },
  },
  "the answer to its claim being lost": {
    does: ({ worker: w, last }) => releaseUnheard(database.pool, w, [last.token]),
    moves: { running: "ready" },
  },
  "the answer to another claim being lost": {
    does: ({ worker: w, first }) => releaseUnheard(database.pool, w, [first.token, randomUUID()]),
    moves: {},
  },
  "nobody serving its queue any more": {
    does: async ({ worker: w }) => {
      await setWorkerState(database.pool, w, "stopped");
      await unadmitAbandoned(database.pool);
    },
    moves: { queued: "ready" },
  },
  "looking for what nobody serves": { does: () => unadmitAbandoned(database.pool), moves: {} },

  "looking for what is due before its time": { does: () => readyDue(database.pool), moves: {} },
  "looking for what is due at its time": {
    does: async () => {
      await moveClock(deps(), "61 s");
      await readyDue(database.pool);
    },
    moves: { retrying: "ready", deferred: "ready" },
  },

  "settling what is settled": { does: ({ runId }) => settleRun(deps(), runId), moves: {} },
  "its last parent's success": {
    does: ({ parent }) => isAccepted(parent, { state: "success" }),
    moves: { waiting: "ready" },
    tells: true,
  },
  "its last parent's success, with the worker going on": {
    does: ({ parent }) => {
      const next = { attemptId: randomUUID(), token: randomUUID() };
      return isAccepted(parent, { state: "success", next });
    },
    moves: { waiting: "running" },
    tells: true,
  },
  "its parent's failure": {
    does: ({ parent }) => isAccepted(parent, { state: "failed" }),
    moves: { waiting: "upstream_failed" },
    tells: true,
  },
  "its parent's skip": {
    does: ({ parent }) => isAccepted(parent, { state: "skipped" }),
    moves: { waiting: "skipped" },
    tells: true,
  },
};

const marking = (mark: Mark): Transition => ({
  does: ({ last }) => markTask(deps(), last.taskInstanceId, mark, anna),
  moves: each(
    TASK_STATES.filter((state) => state !== mark),
    mark,
  ),
  tells: true,
});

/** What people do. No worker has room meanwhile, so that what becomes ready is seen as ready. */
const PEOPLE: Record<string, Transition> = {
  "cancelling the run": { does: ({ runId }) => cancelRun(deps(), runId, anna), moves: each(OPEN, "cancelled") },
  // Decided anew by its parent: one that has failed fails it again.
  "clearing it": {
    does: ({ last }) => clearTask(deps(), last.taskInstanceId, anna),
    moves: each(
      TASK_STATES.filter((state) => !["waiting", "ready", "upstream_failed"].includes(state)),
      "ready",
    ),
  },
  "clearing its parent": {
    does: ({ parent }) => clearTask(deps(), parent.taskInstanceId, anna),
    moves: each(
      TASK_STATES.filter((state) => state !== "waiting"),
      "waiting",
    ),
  },
  "clearing all of the run": {
    does: ({ runId }) => clearRun(deps(), runId, {}, anna),
    moves: each(
      TASK_STATES.filter((state) => state !== "waiting"),
      "waiting",
    ),
  },
  "clearing what has failed": {
    does: ({ runId }) => clearRun(deps(), runId, { onlyFailed: true }, anna),
    // The parent whose failure it was is cleared as well.
    moves: { failed: "ready", cancelled: "ready", upstream_failed: "waiting" },
  },
  "marking it successful": marking("success"),
  "marking it failed": marking("failed"),
  "marking it skipped": marking("skipped"),
  "killing it": {
    does: ({ last }) => killTask(deps(), last.taskInstanceId, anna),
    moves: each(
      OPEN.filter((state) => state !== "waiting"),
      "failed",
    ),
    tells: true,
  },
  "pausing the run": { does: ({ runId }) => pauseRun(deps(), runId, "anna"), moves: { queued: "ready" } },
  "resuming the run": { does: ({ runId }) => resumeRun(deps(), runId), moves: {} },
  "pausing the DAG": { does: () => pauseDag(deps(), SCENE_DAG, "anna"), moves: { queued: "ready" } },
  "going on with the DAG": { does: () => unpauseDag(deps(), SCENE_DAG), moves: {} },
};

beforeEach(async () => {
  await moveClock(deps(), "0");
  await publishScene(deps());
  // Row by row: there is little in them, and truncating so many tables would take most of the test's time.
  for (const table of [
    "dag_run",
    "run_progress",
    "task_instance",
    "live_attempt",
    "deferral",
    "attempt",
    "event",
    "worker",
    "workload_wait",
    "contention",
  ])
    await database.pool.query(`delete from sluice.${table}`);
  await database.pool.query("delete from sluice_boss.job; update sluice.dag set paused_by = null, paused_at = null");
});

type Seen = { state: TaskState; live: string[]; moved: string[] };

async function look({ last }: Scene): Promise<Seen> {
  const { rows } = await database.pool.query<Omit<Seen, "moved">>(
    `select t.state,
            array(select a.state::text from sluice.live_attempt a where a.task_instance_id = t.id) as live
       from sluice.task_instance t where t.id = $1`,
    [last.taskInstanceId],
  );
  const moves = await movesOf(database.pool, last.taskInstanceId);
  return { ...rows[0]!, moved: moves.map(({ from, to }) => `${from} → ${to}`) };
}

const liveIn = (state: TaskState): string[] => (state === "queued" || state === "running" ? [state] : []);

/** What an attempt that said "not yet" does from one look to the next is not recorded. */
const QUIET = ["deferred → ready", "ready → queued", "queued → running", "running → deferred"];

/** Does it to the task, and compares what is there afterwards with what the table says. */
async function check(
  scene: Scene,
  from: TaskState,
  { does, moves, tells }: Transition,
  goesOn: boolean,
): Promise<void> {
  const before = await look(scene);
  expect(before.state).toBe(from);
  const told = await does(scene);
  const after = await look(scene);
  const to = moves[from] ?? from;
  const move = `${from} → ${to}`;
  const isRecorded = to !== from && move !== "waiting → ready" && !(goesOn && QUIET.includes(move));
  expect(after).toEqual({
    state: to,
    live: liveIn(to),
    moved: [...before.moved, ...(isRecorded ? [move] : [])],
  });
  if (tells) expect(told).toBe(to !== from);
  const findings = await inTx(database.pool, checkInvariants);
  expect(findings.filter(({ broken }) => broken.length > 0)).toEqual([]);
}

const casesOf = (state: TaskState, transitions: Record<string, Transition>): (Transition & { name: string })[] =>
  Object.entries(transitions).map(([how, transition]) => {
    const to = transition.moves[state];
    return { ...transition, name: to === undefined ? `${how} leaves it ${state}` : `${how} makes it ${to}` };
  });

describe.for(TASK_STATES)("a task that is %s", (state) => {
  test.for(casesOf(state, ENGINE))("$name", async (transition) => {
    await check(await REACH[state](deps()), state, transition, state === "deferred");
  });

  test.for(casesOf(state, PEOPLE))("$name", async (transition) => {
    const scene = await REACH[state](deps());
    await setWorkerState(database.pool, scene.worker, "draining");
    await check(scene, state, transition, false);
  });
});

describe.for(LOOKING)("a task that is %s for its attempt's next look", (state) => {
  test.for(casesOf(state, ENGINE))("$name", async (transition) => {
    await check(await REACH_LOOK[state](deps()), state, transition, true);
  });

  test.for(casesOf(state, PEOPLE))("$name", async (transition) => {
    const scene = await REACH_LOOK[state](deps());
    await setWorkerState(database.pool, scene.worker, "draining");
    await check(scene, state, transition, true);
  });
});

describe("the tables", () => {
  const pairs = (transitions: Transition[]): string[] =>
    transitions.flatMap(({ moves }) => Object.entries(moves).map(([from, to]) => `${from} → ${to}`));
  const allowed = Object.entries(TASK_MOVES).flatMap(([from, all]) => all.map((to) => `${from} → ${to}`));

  test("the system by itself makes no other moves than those of the state machine", () => {
    expect(pairs(Object.values(ENGINE)).filter((move) => !allowed.includes(move))).toEqual([]);
  });

  test("what has ended is moved by people only", () => {
    expect(Object.values(ENGINE).flatMap(({ moves }) => FINAL_TASK_STATES.filter((state) => state in moves))).toEqual(
      [],
    );
  });

  test("every move of the state machine is tried here", () => {
    const tried = new Set(pairs([...Object.values(ENGINE), PEOPLE["cancelling the run"]!]));
    expect(allowed.filter((move) => !tried.has(move))).toEqual([]);
  });
});
