import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import type { Claimed } from "#lib/db/claims.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { AppError } from "#lib/domain/errors.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { FINAL_RUN_STATES, RUN_MOVES, RUN_STATES, type RunState } from "#lib/domain/states.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, moveClock, start, success, worker, patrolAdmission } from "#lib/testing/engine.ts";
import { finish } from "./finish.ts";
import { pauseDag, pauseRun, resumeRun, unpauseDag } from "./pause.ts";
import { cancelRun, clearRun, clearTask, killTask, type Mark, markTask } from "./run-actions.ts";
import { settleRun } from "./settle-run.ts";
import { startAllQueuedRuns } from "./start-all-queued-runs.ts";
import { sweep } from "./sweep.ts";

/** Every transition of a run from every state, on a real Postgres. The DAG has one task and goes on with one run at once. */

const database = testDatabase();
const anna = { actor: "anna" };
const DAG = "single";

type Scene = {
  runId: string;
  taskId: string;
  /** Of the run's task: the attempt that runs, else the last one that did, else made up. */
  attempt: Pick<Claimed, "taskInstanceId" | "token">;
  /** Another run of the DAG: the one that keeps a queued run waiting, or waits for this one. */
  otherId: string;
};

type Transition = {
  does: (scene: Scene) => Promise<unknown>;
  /** What becomes of each state; one that is not named stays as it is. */
  moves: Partial<Record<RunState, RunState>>;
};

const deps = (): typeof database.deps => database.deps;

const ending =
  (end: object) =>
  ({ attempt }: Scene): Promise<unknown> =>
    finish(deps(), [{ ...success(attempt), ...end }], "worker:w");

/** What the system does by itself. */
const ENGINE: Record<string, Transition> = {
  "looking for runs to start without room": { does: () => startAllQueuedRuns(deps()), moves: {} },
  "another run's end": { does: ({ otherId }) => cancelRun(deps(), otherId, anna), moves: { queued: "running" } },
  "another run's end while it is paused": {
    does: async ({ runId, otherId }) => {
      await pauseRun(deps(), runId, "anna");
      await cancelRun(deps(), otherId, anna);
    },
    moves: {},
  },
  "another run's end while the DAG is paused": {
    does: async ({ otherId }) => {
      await pauseDag(deps(), DAG, "anna");
      await cancelRun(deps(), otherId, anna);
    },
    moves: {},
  },
  "its last task's success": { does: ending({}), moves: { running: "success" } },
  "its last task's failure": { does: ending({ state: "failed" }), moves: { running: "failed" } },
  "its last task's skip": { does: ending({ state: "skipped" }), moves: { running: "success" } },
  "its last task's failure, with a retry": { does: ending({ state: "failed", retryInMs: 60_000 }), moves: {} },
  "its last task's not yet": { does: ending({ state: "deferred", lookInMs: 60_000 }), moves: {} },
  "its last task's end under a token that nobody was given": {
    does: (scene) => ending({ token: randomUUID() })(scene),
    moves: {},
  },
  "settling what is settled": { does: ({ runId }) => settleRun(deps(), runId), moves: {} },
  "a scheduler's look": { does: () => patrolAdmission(deps()), moves: {} },
  "a sweep": { does: () => sweep(deps()), moves: {} },
};

/** A queued run has no tasks yet, and whoever names one is told so. */
async function onTask(act: Promise<boolean>): Promise<boolean> {
  try {
    return await act;
  } catch (error) {
    if (error instanceof AppError && error.code === "task_instance_not_found") return false;
    throw error;
  }
}

const marking = (mark: Mark): Transition["does"] => {
  return ({ taskId }) => onTask(markTask(deps(), taskId, mark, anna));
};

/** The other run has the DAG's only place, so that it waits for it. */
const REVIVED = { success: "queued", failed: "queued", cancelled: "queued" } as const;

/** What people do. */
const PEOPLE: Record<string, Transition> = {
  "cancelling it": {
    does: ({ runId }) => cancelRun(deps(), runId, anna),
    moves: { queued: "cancelled", running: "cancelled" },
  },
  "clearing its task": { does: ({ taskId }) => onTask(clearTask(deps(), taskId, anna)), moves: REVIVED },
  "clearing it": { does: ({ runId }) => clearRun(deps(), runId, {}, anna), moves: REVIVED },
  "clearing a task of it by name": {
    does: ({ runId }) => clearRun(deps(), runId, { tasks: ["a"], downstream: true }, anna),
    moves: REVIVED,
  },
  "clearing what has failed": {
    does: ({ runId }) => clearRun(deps(), runId, { onlyFailed: true }, anna),
    moves: { failed: "queued", cancelled: "queued" },
  },
  "marking its task successful": {
    does: marking("success"),
    moves: { running: "success", failed: "success", cancelled: "success" },
  },
  "marking its task failed": {
    does: marking("failed"),
    moves: { running: "failed", success: "failed", cancelled: "failed" },
  },
  "marking its task skipped": {
    does: marking("skipped"),
    moves: { running: "success", failed: "success", cancelled: "success" },
  },
  "killing its task": { does: ({ taskId }) => onTask(killTask(deps(), taskId, anna)), moves: { running: "failed" } },
  "pausing it": { does: ({ runId }) => pauseRun(deps(), runId, "anna"), moves: {} },
  "resuming it": { does: ({ runId }) => resumeRun(deps(), runId), moves: {} },
  "pausing the DAG": { does: () => pauseDag(deps(), DAG, "anna"), moves: {} },
  "going on with the DAG": { does: () => unpauseDag(deps(), DAG), moves: {} },
};

beforeEach(async () => {
  await moveClock(deps(), "0");
  const tasks = [{ id: "a", type: "bash", config: { command: "true" } }];
  const spec = DagSpec.parse({ id: DAG, limits: { maxActiveRuns: 1 }, tasks });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: "single.yaml", source: "", author: "test" }));
  await database.pool.query("update sluice.dag set paused_by = null, paused_at = null");
  await database.pool.query(
    "truncate sluice.dag_run, sluice.run_progress, sluice.run_action, sluice.parent_ends, sluice.task_instance, sluice.live_attempt, sluice.deferral, sluice.attempt, sluice.event, sluice.worker",
  );
  // Apart, and not truncated: bells may be ringing.
  await database.pool.query("delete from sluice_boss.job");
});

async function running(): Promise<Scene> {
  const w = await worker(deps(), "w");
  const runId = await start(deps(), DAG);
  const [attempt] = await claimAll(deps(), w);
  return { runId, taskId: taskInstanceId(runId, 0), attempt: attempt!, otherId: await start(deps(), DAG) };
}

const REACH: Record<RunState, () => Promise<Scene>> = {
  running,
  queued: async () => {
    const { runId, otherId } = await running();
    const taskId = taskInstanceId(otherId, 0);
    const attempt = { taskInstanceId: taskId, token: randomUUID() };
    return { runId: otherId, taskId, attempt, otherId: runId };
  },
  success: async () => {
    const scene = await running();
    await ending({})(scene);
    return scene;
  },
  failed: async () => {
    const scene = await running();
    await finish(deps(), [failed(scene.attempt)], "worker:w");
    return scene;
  },
  cancelled: async () => {
    const scene = await running();
    await cancelRun(deps(), scene.runId, anna);
    return scene;
  },
};

async function look(runId: string): Promise<{ state: RunState; moved: string[]; tasks: number }> {
  const { rows } = await database.pool.query<{ state: RunState; moved: string[]; tasks: number }>(
    `select r.state, (select count(*)::int from sluice.task_instance t where t.run_id = r.id) as tasks,
            array(select e.from_state || ' → ' || e.to_state from sluice.event e
                   where e.run_id = r.id and e.task_instance_id is null and e.from_state <> e.to_state
                   order by e.id) as moved
       from sluice.dag_run r where r.id = $1`,
    [runId],
  );
  return rows[0]!;
}

const casesOf = (state: RunState, transitions: Record<string, Transition>): (Transition & { name: string })[] =>
  Object.entries(transitions).map(([how, transition]) => {
    const to = transition.moves[state];
    return { ...transition, name: to === undefined ? `${how} leaves it ${state}` : `${how} makes it ${to}` };
  });

describe.for(RUN_STATES)("a run that is %s", (from) => {
  test.for(casesOf(from, { ...ENGINE, ...PEOPLE }))("$name", async ({ does, moves }) => {
    const scene = await REACH[from]();
    const before = await look(scene.runId);
    expect(before).toMatchObject({ state: from, tasks: from === "queued" ? 0 : 1 });
    await does(scene);
    const to = moves[from] ?? from;
    expect(await look(scene.runId)).toEqual({
      state: to,
      moved: [...before.moved, ...(to === from ? [] : [`${from} → ${to}`])],
      tasks: to === "running" ? 1 : before.tasks,
    });
    const findings = await inTx(database.pool, checkInvariants);
    expect(findings.filter(({ broken }) => broken.length > 0)).toEqual([]);
  });
});

describe("the tables", () => {
  const pairs = (transitions: Transition[]): string[] =>
    transitions.flatMap(({ moves }) => Object.entries(moves).map(([from, to]) => `${from} → ${to}`));
  const allowed = Object.entries(RUN_MOVES).flatMap(([from, all]) => all.map((to) => `${from} → ${to}`));

  test("the system by itself makes no other moves than those of the state machine", () => {
    expect(pairs(Object.values(ENGINE)).filter((move) => !allowed.includes(move))).toEqual([]);
  });

  test("what has ended is moved by people only", () => {
    expect(Object.values(ENGINE).flatMap(({ moves }) => FINAL_RUN_STATES.filter((state) => state in moves))).toEqual(
      [],
    );
  });

  test("every move of the state machine is tried here", () => {
    const tried = new Set(pairs([...Object.values(ENGINE), PEOPLE["cancelling it"]!]));
    expect(allowed.filter((move) => !tried.has(move))).toEqual([]);
  });
});
