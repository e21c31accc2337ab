import type { WorkerRef } from "#lib/db/claims.ts";
import type { Continued } from "#lib/db/finishes.ts";
import { buildGraph, topologicalOrder } from "#lib/domain/graph.ts";
import { runIdOf, slotOf, taskInstanceId } from "#lib/domain/ids.ts";
import { downstream } from "#lib/domain/lineage.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { type RuledGraph, runVerdict, settle } from "#lib/domain/settle.ts";
import {
  type BackfillState,
  isFinalBackfillState,
  isFinalRunState,
  isFinalTaskState,
  type RunState,
  type TaskState,
} from "#lib/domain/states.ts";
import { isDecidedBySuccesses } from "#lib/domain/trigger-rules.ts";

/**
 * What the engine is to do, said by the pure rules: the model of the model-based test. It does not know who is admitted:
 * what is handed over or runs is `ready` to it. Whoever runs something is told by `holdings`.
 */

export type ModelDag = {
  readonly spec: DagSpec;
  readonly graph: RuledGraph & { readonly children: readonly (readonly number[])[] };
  readonly isLeaf: readonly boolean[];
  /** Counting the successes of its parents decides the task. */
  readonly isCounted: readonly boolean[];
};

export function modelDag(spec: DagSpec): ModelDag {
  const graph = buildGraph(spec.tasks);
  const rules = spec.tasks.map((task) => task.triggerRule);
  return {
    spec,
    graph: { ...graph, order: topologicalOrder(graph), rules },
    isLeaf: graph.children.map((children) => children.length === 0),
    isCounted: rules.map(isDecidedBySuccesses),
  };
}

export type ModelRun = {
  readonly id: string;
  readonly dag: ModelDag;
  state: RunState;
  /** None until it first begins. */
  tasks: TaskState[];
  isPaused: boolean;
  /** Of a run of a backfill: what it is of, and its logical date. */
  readonly slice?: { readonly backfill: ModelBackfill; readonly day: string };
  /** A cancel of it is committed and not carried out: nothing of it begins, and no rule is applied. */
  isAsked: boolean;
};

export type ModelBackfill = {
  readonly id: string;
  readonly dag: ModelDag;
  readonly order: "asc" | "desc";
  state: BackfillState;
};

export function newRun(id: string, dag: ModelDag, slice?: ModelRun["slice"]): ModelRun {
  return { id, dag, state: "queued", tasks: [], isPaused: false, isAsked: false, ...(slice && { slice }) };
}

/** An attempt that runs: whose it is, and when its lease was last renewed. */
export type Holding = { claimed: Continued; worker: WorkerRef; renewedAtS: number };

export type ModelWorker = { ref: WorkerRef; state: "active" | "draining"; slots: number; ahead: number };

export type Model = {
  /** By id. */
  readonly runs: ModelRun[];
  readonly backfills: ModelBackfill[];
  readonly pausedDags: Set<string>;
  /** Of the current version of each DAG. */
  readonly limits: Map<string, DagSpec["limits"]>;
  /** The newest process of each name, and the ones that it has replaced. */
  readonly workers: Map<string, ModelWorker>;
  readonly replaced: WorkerRef[];
  /** By task instance. */
  readonly holdings: Map<string, Holding>;
  /** Attempts that were taken away or have ended, the last ones: what a late worker hands in. */
  over: Continued[];
  /** By task instance: workers it has lost since it was last cleared, attempts that began, when its retry or look is due. */
  readonly losses: Map<string, number>;
  readonly claims: Map<string, number>;
  /** Task instances of which an attempt began, or which a person marked, since they were last cleared. */
  readonly begun: Set<string>;
  readonly dueAtS: Map<string, number>;
  /** By task instance: the attempt that said "not yet" and has not ended, and how often it said so. */
  readonly looking: Map<string, { attemptId: string; number: number; times: number }>;
  /** By how much the engine's clock was moved, and when the history began, by this process's. */
  clockS: number;
  /** The most that it has been. */
  latestS: number;
  readonly beganAtMs: number;
};

/** The engine's clock, since the history began: a history takes longer than a lease on a busy machine. */
export function nowS(model: Model): number {
  return model.clockS + (performance.now() - model.beganAtMs) / 1_000;
}

export function emptyModel(): Model {
  return {
    runs: [],
    backfills: [],
    pausedDags: new Set(),
    limits: new Map(),
    workers: new Map(),
    replaced: [],
    holdings: new Map(),
    over: [],
    losses: new Map(),
    claims: new Map(),
    begun: new Set(),
    dueAtS: new Map(),
    looking: new Map(),
    clockS: 0,
    latestS: 0,
    beganAtMs: performance.now(),
  };
}

export function runOf(model: Model, taskId: string): ModelRun {
  return model.runs.find((run) => run.id === runIdOf(taskId))!;
}

export function stateOf(model: Model, taskId: string): TaskState {
  return runOf(model, taskId).tasks[slotOf(taskId)]!;
}

export function isHeld(model: Model, run: ModelRun): boolean {
  const isOthersHeld = run.slice ? run.slice.backfill.state === "paused" : model.pausedDags.has(run.dag.spec.id);
  return run.state === "queued" || run.isPaused || isOthersHeld;
}

/** `queued` → `running`: its tasks are there, and those that wait for nothing are ready. One that goes again has them already. */
export function begin(run: ModelRun): void {
  run.state = "running";
  if (run.tasks.length > 0) return;
  run.tasks = settle(
    run.dag.graph,
    run.dag.spec.tasks.map((): TaskState => "waiting"),
  );
}

export function settled(run: ModelRun): void {
  if (run.state !== "running" || run.isAsked) return;
  run.tasks = settle(run.dag.graph, run.tasks);
  close(run);
}

function close(run: ModelRun, end?: RunState): void {
  const isOpen = run.tasks.some((state) => !isFinalTaskState(state));
  const open = isFinalRunState(run.state) ? "queued" : run.state;
  run.state = isOpen ? open : (end ?? runVerdict(run.dag.isLeaf, run.tasks));
}

export function claims(model: Model, worker: WorkerRef, claimed: Continued): void {
  const { taskInstanceId: id } = claimed;
  model.holdings.set(id, { claimed, worker, renewedAtS: nowS(model) });
  model.begun.add(id);
  if (!model.looking.has(id)) model.claims.set(id, (model.claims.get(id) ?? 0) + 1);
}

const REMEMBERED = 30;

function drop(model: Model, taskId: string): void {
  const holding = model.holdings.get(taskId);
  if (!holding) return;
  model.holdings.delete(taskId);
  model.over = [...model.over, holding.claimed].slice(-REMEMBERED);
}

/** By people: an attempt between two looks ends as one that runs does. */
function ended(model: Model, taskId: string): void {
  drop(model, taskId);
  model.looking.delete(taskId);
}

export type ModelEnd = { taskId: string; state: TaskState; dueAtS?: number | undefined };

/**
 * Accepted ends, written in one statement: children that count successes are counted down. All others wait until
 * somebody settles the run.
 */
export function ends(model: Model, batch: readonly ModelEnd[]): void {
  for (const { taskId, state, dueAtS } of batch) {
    if (state === "deferred") saysNotYet(model, taskId);
    else model.looking.delete(taskId);
    drop(model, taskId);
    runOf(model, taskId).tasks[slotOf(taskId)] = state;
    if (dueAtS !== undefined) model.dueAtS.set(taskId, dueAtS);
  }
  for (const run of new Set(batch.map(({ taskId }) => runOf(model, taskId)))) {
    const { graph, isCounted } = run.dag;
    run.tasks = run.tasks.map((state, ord): TaskState => {
      const unlocked = isCounted[ord]! && graph.parents[ord]!.every((parent) => run.tasks[parent] === "success");
      return state === "waiting" && unlocked ? "ready" : state;
    });
    close(run);
  }
}

function saysNotYet(model: Model, taskId: string): void {
  const { attemptId, number } = model.holdings.get(taskId)!.claimed;
  model.looking.set(taskId, { attemptId, number, times: (model.looking.get(taskId)?.times ?? 0) + 1 });
  model.losses.delete(taskId);
}

/** Running attempts whose worker is lost; those that have lost too many end their task, which the caller settles. */
export function loses(model: Model, taskIds: readonly string[], allowance: number): void {
  const exhausted: ModelEnd[] = [];
  for (const taskId of taskIds) {
    const lost = model.losses.get(taskId) ?? 0;
    if (lost >= allowance) exhausted.push({ taskId, state: "failed" });
    else model.losses.set(taskId, lost + 1);
    drop(model, taskId);
  }
  ends(model, exhausted);
  for (const { taskId } of exhausted) settled(runOf(model, taskId));
}

export function handsBack(model: Model, worker: WorkerRef): void {
  for (const taskId of heldBy(model, worker)) drop(model, taskId);
}

export function heldBy(model: Model, worker: WorkerRef): string[] {
  return [...model.holdings]
    .filter(([, holding]) => holding.worker.id === worker.id && holding.worker.epoch === worker.epoch)
    .map(([taskId]) => taskId);
}

export function cancels(model: Model, run: ModelRun): void {
  run.isAsked = false;
  if (isFinalRunState(run.state)) return;
  write(
    model,
    run,
    run.tasks.map((state) => (isFinalTaskState(state) ? state : "cancelled")),
  );
  run.state = "cancelled";
}

/** The tasks begin again; what is not among them stays. */
export function clears(model: Model, run: ModelRun, ords: ReadonlySet<number>): void {
  for (const ord of ords) ended(model, taskInstanceId(run.id, ord));
  write(
    model,
    run,
    run.tasks.map((state, ord) => (ords.has(ord) ? "waiting" : state)),
  );
  for (const ord of ords) {
    model.losses.delete(taskInstanceId(run.id, ord));
    model.begun.delete(taskInstanceId(run.id, ord));
  }
}

function reopens(backfill: ModelBackfill): void {
  if (isFinalBackfillState(backfill.state)) backfill.state = "running";
}

export function below(run: ModelRun, ord: number): Set<number> {
  return downstream(run.dag.graph, [ord]);
}

/** What depends on it and got its end from its rule alone is decided anew. */
export function marks(model: Model, run: ModelRun, ord: number, mark: TaskState): void {
  const reached = below(run, ord);
  const isDecided = (state: TaskState, one: number): boolean =>
    (state === "skipped" || state === "upstream_failed") && !model.begun.has(taskInstanceId(run.id, one));
  const again = run.tasks.map((state, one): TaskState => {
    return reached.has(one) && isDecided(state, one) ? "waiting" : state;
  });
  model.begun.add(taskInstanceId(run.id, ord));
  write(model, run, again.with(ord, mark));
}

export function kills(model: Model, run: ModelRun, ord: number): void {
  write(model, run, run.tasks.with(ord, "failed"));
}

function write(model: Model, run: ModelRun, tasks: readonly TaskState[]): void {
  const after = settle(run.dag.graph, tasks);
  after.forEach((state, ord) => {
    if (state !== run.tasks[ord]) ended(model, taskInstanceId(run.id, ord));
  });
  run.tasks = after;
  const before = run.state;
  close(run);
  // A backfill that has ended goes on with a run that does, and ends anew when a run of it gets another end.
  if (isFinalRunState(before) && run.state !== before && run.slice) reopens(run.slice.backfill);
}
