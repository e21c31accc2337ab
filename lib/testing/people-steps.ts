import { expect } from "vitest";
import { deletePool, upsertPool } from "#lib/db/pools.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { isFinalTaskState, type TaskState } from "#lib/domain/states.ts";
import { admit } from "#lib/engine/admit.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { pauseDag, pauseRun, resumeRun, unpauseDag } from "#lib/engine/pause.ts";
import { cancelRun, clearRun, clearTask, killTask, type Mark, markTask } from "#lib/engine/run-actions.ts";
import { isOpen } from "./backfill-model.ts";
import { POOL } from "./engine-agreement.ts";
import {
  below,
  cancels,
  clears,
  kills,
  marks,
  type Model,
  type ModelDag,
  type ModelRun,
  newRun,
  runOf,
} from "./engine-model.ts";
import { catchUp, type Command, pass, pick, step } from "./engine-steps.ts";
import { start } from "./engine.ts";

/** Steps of the model-based test: what people do. */

const anna = { actor: "anna" };
const MAX_RUNS = 10;

const runsOf = (model: Model, accepts: (run: ModelRun) => boolean): ModelRun[] => model.runs.filter(accepts);
/** One action of a run at a time, but for a cancel. */
const isFree = (run: ModelRun): boolean => !run.isAsked;
const hasTasks = (run: ModelRun): boolean => run.tasks.length > 0 && isFree(run);

export const startRun = (dag: ModelDag): Command =>
  step(
    `start a run of ${dag.spec.id}`,
    {},
    (model) => model.runs.length < MAX_RUNS,
    async (model, deps) => {
      const id = await start(deps, dag.spec.id);
      model.runs.push(newRun(id, dag));
    },
  );

const onRun = (
  name: string,
  roll: number,
  accepts: (run: ModelRun) => boolean,
  act: (model: Model, run: ModelRun, deps: EngineDeps) => Promise<void>,
): Command =>
  step(
    name,
    { roll },
    (model) => runsOf(model, accepts).length > 0,
    (model, deps) => act(model, pick(runsOf(model, accepts), roll), deps),
  );

const onTask = (
  name: string,
  roll: number,
  act: (model: Model, task: { run: ModelRun; ord: number; taskId: string }, deps: EngineDeps) => Promise<void>,
): Command =>
  onRun(name, roll, hasTasks, (model, run, deps) => {
    const ord = Math.floor(roll / MAX_RUNS) % run.tasks.length;
    return act(model, { run, ord, taskId: taskInstanceId(run.id, ord) }, deps);
  });

export const people = {
  cancel: (roll: number) =>
    onRun(
      "cancel",
      roll,
      () => true,
      async (model, run, deps) => {
        expect(await cancelRun(deps, run.id, anna)).toBe(isOpen(run));
        cancels(model, run);
      },
    ),
  clear: (roll: number) =>
    onTask("clear", roll, async (model, { run, ord, taskId }, deps) => {
      await clearTask(deps, taskId, anna);
      // What waits has nothing to be cleared of: then the run is left as it is, and what it is owed as well.
      const again = below(run, ord);
      if ([...again].some((one) => run.tasks[one] !== "waiting")) clears(model, run, again);
    }),
  clearFailed: (roll: number) =>
    onRun("clear what failed", roll, isFree, async (model, run, deps) => {
      const isBad = (state: TaskState): boolean => ["failed", "upstream_failed", "cancelled"].includes(state);
      const bad = new Set(run.tasks.flatMap((state, ord) => (isBad(state) ? [ord] : [])));
      expect(await clearRun(deps, run.id, { onlyFailed: true }, anna)).toBe(bad.size > 0);
      if (bad.size > 0) clears(model, run, bad);
    }),
  mark: (roll: number, mark: Mark) =>
    onTask(`mark ${mark}`, roll, async (model, { run, ord, taskId }, deps) => {
      const differs = run.tasks[ord] !== mark;
      expect(await markTask(deps, taskId, mark, anna)).toBe(differs);
      if (differs) marks(model, run, ord, mark);
    }),
  kill: (roll: number) =>
    onTask("kill", roll, async (model, { run, ord, taskId }, deps) => {
      const goesOn = !isFinalTaskState(run.tasks[ord]!) && run.tasks[ord] !== "waiting";
      expect(await killTask(deps, taskId, anna)).toBe(goesOn);
      if (goesOn) kills(model, run, ord);
    }),
  /** One of which something runs, if there is one: what that ends makes ready is of interest. */
  pause: (roll: number) =>
    step(
      "pause",
      { roll },
      (model) => runsOf(model, isOpen).length > 0,
      async (model, deps) => {
        const going = [...model.holdings.keys()].map((taskId) => runOf(model, taskId));
        const run = pick(going.length > 0 ? going : runsOf(model, isOpen), roll);
        await catchUp(model, deps);
        expect(await pauseRun(deps, run.id, "anna")).toBe(true);
        run.isPaused = true;
      },
    ),
  resume: (roll: number) =>
    onRun(
      "resume",
      roll,
      (run) => isOpen(run) && run.isPaused,
      async (_, run, deps) => {
        expect(await resumeRun(deps, run.id)).toBe(true);
        run.isPaused = false;
      },
    ),
  pauseDag: (dag: ModelDag) =>
    step(
      `pause ${dag.spec.id}`,
      {},
      () => true,
      async (model, deps) => {
        await catchUp(model, deps);
        await pauseDag(deps, dag.spec.id, "anna");
        model.pausedDags.add(dag.spec.id);
      },
    ),
  unpauseDag: (dag: ModelDag) =>
    step(
      `go on with ${dag.spec.id}`,
      {},
      ({ pausedDags }) => pausedDags.has(dag.spec.id),
      async ({ pausedDags }, deps) => {
        await unpauseDag(deps, dag.spec.id);
        pausedDags.delete(dag.spec.id);
      },
    ),
  resize: (slots: number) =>
    limiting("resize the pool", { slots }, (_, deps) => upsertPool(deps.pool, POOL.name, slots, undefined)),
  removePool: limiting("delete the pool", {}, async (_, deps) => void (await deletePool(deps.pool, POOL.name))),
  limitAll: (value: number | null) =>
    limiting("limit the whole system", { value }, (_, deps) => setSystemLimit(deps.pool, "max_active_tasks", value)),
  limitDag: (dag: ModelDag, limits: Partial<DagSpec["limits"]>) =>
    limiting(`limit ${dag.spec.id}`, limits, (model, deps) => publishLimits(model, deps, dag, limits)),
};

/** Another limit; what is admitted under the one before may stay, what comes later is judged by the new one: see LIMIT_CHECKS. */
function limiting(name: string, args: object, change: (model: Model, deps: EngineDeps) => Promise<void>): Command {
  return step(
    name,
    args,
    () => true,
    async (model, deps) => {
      await catchUp(model, deps);
      await change(model, deps);
      // Beyond the time in which admission may have read the limit before.
      await pass(model, deps, 3);
      await admit(deps);
    },
  );
}

/** A version of the DAG that differs by its limits; without any, the one that it begins with. */
export async function publishLimits(
  model: Model,
  deps: EngineDeps,
  { spec }: ModelDag,
  limits: Partial<DagSpec["limits"]> = {},
): Promise<void> {
  const limited = { ...spec, limits: { ...spec.limits, ...limits } };
  await inTx(deps.pool, (tx) => publishVersion(tx, limited, { file: `${spec.id}.yaml`, source: "", author: "test" }));
  model.limits.set(spec.id, limited.limits);
}
