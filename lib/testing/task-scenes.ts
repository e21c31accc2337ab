import { readyDue } from "#lib/db/admission.ts";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { type Finish, finishRunning } from "#lib/db/finishes.ts";
import { releaseDrained } from "#lib/db/lost-attempts.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import type { TaskState } from "#lib/domain/states.ts";
import { admit } from "#lib/engine/admit.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { finish } from "#lib/engine/finish.ts";
import { LEASE_MS } from "#lib/engine/lease.ts";
import { cancelRun, clearRun, clearTask } from "#lib/engine/run-actions.ts";
import { claimAll, failed, start, success, worker, patrolAdmission } from "./engine.ts";

export const SCENE_DAG = "scene";

/** A task instance in some state, with what somebody needs who wants to move it. */
export type Scene = {
  runId: string;
  worker: WorkerRef;
  /** The attempt that runs, else the last one that did. */
  last: Claimed;
  /** Every task here has had a first attempt that was handed back. */
  first: Claimed;
  /** Runs where the task waits. */
  parent: Claimed;
};

const by = { actor: "test" };

/** `task` waits for `parent`, `child` waits for `task`; nobody serves the queue of `other`, which keeps the run going. */
export async function publishScene(deps: EngineDeps): Promise<void> {
  const bash = { type: "bash", config: { command: "true" } };
  const spec = DagSpec.parse({
    id: SCENE_DAG,
    tasks: [
      { ...bash, id: "parent" },
      { ...bash, id: "task", dependsOn: ["parent"] },
      { ...bash, id: "child", dependsOn: ["task"] },
      { ...bash, id: "other", queue: "nobody" },
    ],
  });
  await inTx(deps.pool, (tx) => publishVersion(tx, spec, { file: "scene.yaml", source: "", author: "test" }));
}

async function claimOne(deps: EngineDeps, w: WorkerRef): Promise<Claimed> {
  await admit(deps);
  const claimed = await claimAll(deps, w);
  if (claimed.length !== 1) throw new Error(`one attempt was to be claimed, not ${claimed.length}`);
  return claimed[0]!;
}

async function readyAgain(deps: EngineDeps): Promise<Scene> {
  const w = await worker(deps, "w");
  const runId = await start(deps, SCENE_DAG);
  const parent = await claimOne(deps, w);
  await finishRunning(deps.pool, [success(parent)], "worker:w", LEASE_MS);
  const first = await claimOne(deps, w);
  await releaseDrained(deps.pool, w);
  return { runId, worker: w, parent, first, last: first };
}

async function running(deps: EngineDeps): Promise<Scene> {
  const scene = await readyAgain(deps);
  return { ...scene, last: await claimOne(deps, scene.worker) };
}

async function ended(deps: EngineDeps, end: Partial<Finish>): Promise<Scene> {
  const scene = await running(deps);
  await finish(deps, [{ ...success(scene.last), ...end }], "worker:w");
  return scene;
}

async function waiting(deps: EngineDeps): Promise<Scene> {
  const scene = await readyAgain(deps);
  await clearTask(deps, scene.parent.taskInstanceId, by);
  const parent = await claimOne(deps, scene.worker);
  // It is known that nobody serves the queue of `other`: it does not keep a worker from going on with the task.
  await patrolAdmission(deps);
  return { ...scene, parent };
}

/** How a task gets into each state, by what the engine does where it can. */
export const REACH: Record<TaskState, (deps: EngineDeps) => Promise<Scene>> = {
  waiting,
  ready: readyAgain,
  queued: async (deps) => {
    const scene = await readyAgain(deps);
    await admit(deps);
    return scene;
  },
  running,
  success: (deps) => ended(deps, { state: "success" }),
  failed: (deps) => ended(deps, { state: "failed" }),
  skipped: (deps) => ended(deps, { state: "skipped" }),
  retrying: (deps) => ended(deps, { state: "failed", retryInMs: 60_000 }),
  deferred: (deps) => ended(deps, { state: "deferred", reason: "no file", lookInMs: 60_000 }),
  upstream_failed: async (deps) => {
    const scene = await waiting(deps);
    await finish(deps, [failed(scene.parent)], "worker:w");
    return scene;
  },
  cancelled: async (deps) => {
    const scene = await running(deps);
    await cancelRun(deps, scene.runId, by);
    await clearRun(deps, scene.runId, { tasks: ["other"] }, by);
    return scene;
  },
};

/** States in which a task is with the next look of an attempt that said "not yet". */
export const LOOKING = ["ready", "queued", "running"] as const;

async function readyToLook(deps: EngineDeps): Promise<Scene> {
  const scene = await ended(deps, { state: "deferred", reason: "no file", lookInMs: 0 });
  await readyDue(deps.pool);
  return { ...scene, first: scene.last };
}

/** How it gets into each of them. `first` is then the look that said so. */
export const REACH_LOOK: Record<(typeof LOOKING)[number], (deps: EngineDeps) => Promise<Scene>> = {
  ready: readyToLook,
  queued: async (deps) => {
    const scene = await readyToLook(deps);
    await admit(deps);
    return scene;
  },
  running: async (deps) => {
    const scene = await readyToLook(deps);
    return { ...scene, last: await claimOne(deps, scene.worker) };
  },
};
