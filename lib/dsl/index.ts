/**
 * What a DAG file imports: `import { dag, bash, fn } from "sluice"`.
 *
 * The builder is immutable: `.task()` returns a new DAG whose type knows one task more, so the compiler checks
 * every `dependsOn` and every use of `outputs`. Options come before the executor, so that inference knows the
 * parents when it reaches the function.
 */
import { DagSpec } from "../domain/model/dag.ts";

type Outputs = Record<string, unknown>;

/** What a function task receives. */
export type FnContext<In extends Outputs> = {
  /** The accepted outputs of the tasks named in `dependsOn`. */
  outputs: In;
  /** The values the run was triggered with. */
  conf: Record<string, unknown>;
  run: { id: string; dagId: string; logicalDate: string };
  /** Aborts when the attempt must end: timeout, cancel, lost lease. */
  signal: AbortSignal;
  /** Stays the same when a result is delivered again: use it as an idempotency key towards other systems. */
  attemptId: string;
};

type TaskFunction<In extends Outputs, Out> = (context: FnContext<In>) => Out | Promise<Out>;

/** How a task does its work. `In` is what it reads from its parents, `Out` what it leaves for its children. */
export type TaskExecutor<In extends Outputs, Out> =
  | { readonly type: "bash"; readonly config: { command: string }; readonly out?: Out }
  | { readonly type: "fn"; readonly run: TaskFunction<In, Out>; readonly out?: Out };

/**
 * A shell command, run with `bash -euo pipefail`. JSON written to the file `$SLUICE_OUTPUT` is its output;
 * `$SLUICE_INPUTS` is a file with the parents' outputs.
 */
export function bash<Out = unknown>(
  command: string,
  options: { env?: Record<string, string> } = {},
): TaskExecutor<Outputs, Out> {
  return { type: "bash", config: { command } };
}

/** A TypeScript function, called in a warm child process of the worker; what it returns is its output (JSON). */
export function fn<In extends Outputs, Out>(run: TaskFunction<In, Out>): TaskExecutor<In, Awaited<Out>> {
  return { type: "fn", run: run as TaskFunction<In, Awaited<Out>> };
}

export type TaskOptions<Parent extends string> = { dependsOn?: readonly Parent[]; queue?: string };

export type DagOptions = { description?: string; owner?: string; tags?: readonly string[] };

/** Refuses, at compile time, an id that is already taken. */
type NewId<Id extends string, Known> = Id extends keyof Known ? never : Id;

/** Marks a builder across copies of this module: a DAG file may have loaded its own. */
const BUILDER = Symbol.for("sluice.dag");

type Step = { id: string; options: TaskOptions<string>; executor: TaskExecutor<Outputs, unknown> };

export class Dag<Known extends Outputs = Record<never, never>> {
  readonly [BUILDER] = true;
  readonly id: string;
  readonly #options: DagOptions;
  readonly #steps: readonly Step[];

  constructor(id: string, options: DagOptions, steps: readonly Step[] = []) {
    this.id = id;
    this.#options = options;
    this.#steps = steps;
  }

  task<const Id extends string, Out>(
    id: NewId<Id, Known>,
    executor: TaskExecutor<Record<never, never>, Out>,
  ): Dag<Known & Record<Id, Out>>;
  task<const Id extends string, Out, const Parent extends keyof Known & string = never>(
    id: NewId<Id, Known>,
    options: TaskOptions<Parent>,
    executor: TaskExecutor<Pick<Known, Parent>, Out>,
  ): Dag<Known & Record<Id, Out>>;
  task(id: string, ...rest: readonly unknown[]): unknown {
    const [options, executor] = rest.length === 1 ? [{}, rest[0]] : rest;
    const step = { id, options, executor } as Step;
    return new Dag(this.id, this.#options, [...this.#steps, step]);
  }

  /** The canonical model. `module` is the path under which a worker imports this DAG's functions. Throws a ZodError. */
  toSpec(module: string): DagSpec {
    const tasks = this.#steps.map(({ id, options, executor }) => ({
      id,
      ...options,
      type: executor.type,
      config: executor.type === "fn" ? { module, export: `default.${id}` } : executor.config,
    }));
    return DagSpec.parse({ id: this.id, ...this.#options, tasks });
  }

  /** The function of a task, if it has one. */
  functionOf(taskId: string): TaskFunction<Outputs, unknown> | undefined {
    const executor = this.#steps.find((step) => step.id === taskId)?.executor;
    return executor?.type === "fn" ? executor.run : undefined;
  }
}

/** Starts a DAG; add tasks with `.task()` and export the result as the file's default. */
export function dag(id: string, options: DagOptions = {}): Dag {
  return new Dag(id, options);
}

export function isDag(value: unknown): value is Dag {
  return typeof value === "object" && value !== null && BUILDER in value;
}
