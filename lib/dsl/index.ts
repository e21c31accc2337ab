/**
 * What a DAG file imports: `import { dag, bash, fn } from "sluice"`.
 *
 * The builder is immutable: `.task()` returns a new DAG whose type knows one task more, so the compiler checks
 * every `dependsOn` and every use of `outputs`. Options come before the executor, so that inference knows the
 * parents when it reaches the function.
 */
import { dataToSpec, DefinitionError } from "../domain/definition/data-to-spec.ts";
import { toYaml } from "../domain/definition/to-yaml.ts";
import type { DagSpec } from "../domain/model/dag.ts";
import type { PluginTypes } from "../domain/model/plugin-type.ts";
import type { TriggerRule } from "../domain/model/task.ts";
import { dedent } from "./dedent.ts";
import { typeOfDefinition } from "./define-executor.ts";
import type { NotYet } from "./not-yet.ts";
import type {
  BashInput,
  DagOptions,
  DockerInput,
  HttpInput,
  HttpOutput,
  Inputs,
  Jsonified,
  NewId,
  Outputs,
  ParamSchemas,
  ParamValues,
  PythonInput,
  SqlInput,
  TaskExecutor,
  TaskFunction,
  TaskOptions,
} from "./types.ts";

export { defineExecutor } from "./define-executor.ts";
export { notYet, type NotYet } from "./not-yet.ts";
export type { FnContext } from "./types.ts";
export type { Outcome } from "../executors/executor.ts";
export type { TaskContext } from "../executors/task-context.ts";

/**
 * A shell command, or a script beside the DAG's file, run with `bash -euo pipefail`. JSON written to the file `$SLUICE_OUTPUT` is its output;
 * `$SLUICE_INPUTS` is a file with the parents' outputs, `$SLUICE_PARAMS` one with the run's params.
 */
export function bash<Out = unknown>(command: string | BashInput): TaskExecutor<Outputs, Out> {
  if (typeof command === "string") return { type: "bash", config: dedent(command) };
  if (command.command === undefined) return { type: "bash", config: command };
  return { type: "bash", config: { ...command, command: dedent(command.command) } };
}

/** A Python program, its text or a file beside the DAG's; its inputs and output are files, as for `bash`. Common indentation is taken off. */
export function python<Out = unknown>(code: string | PythonInput): TaskExecutor<Outputs, Out> {
  if (typeof code === "string") return { type: "python", config: dedent(code) };
  if (code.code === undefined) return { type: "python", config: code };
  return { type: "python", config: { ...code, code: dedent(code.code) } };
}

/** An HTTP request; its output is the response. */
export function http<Body = unknown>(request: string | HttpInput): TaskExecutor<Outputs, HttpOutput<Body>> {
  return { type: "http", config: request };
}

/**
 * One statement for a Postgres database; its output are the rows as objects, or `{ rowCount }` of a statement that gives
 * none. Values go into `params` and stand as `$1`, `$2` in the query. Common indentation is taken off.
 */
export function sql<Out = unknown>(statement: SqlInput): TaskExecutor<Outputs, Out> {
  return { type: "sql", config: { ...statement, query: dedent(statement.query) } };
}

/**
 * A container of an image, with `$SLUICE_INPUTS` and the other files as for `bash`; JSON written to `$SLUICE_OUTPUT` is
 * its output.
 */
export function docker<Out = unknown>(image: string | DockerInput): TaskExecutor<Outputs, Out> {
  return { type: "docker", config: image };
}

/** Does nothing: a point that other tasks wait for. */
export function noop(): TaskExecutor<Outputs, undefined> {
  return { type: "noop", config: {} };
}

/**
 * A TypeScript function, called in a warm child process of the worker; what it returns is its output (JSON), unless that
 * is `notYet`: then it is called again later.
 */
export function fn<In, Out, Params>(
  run: TaskFunction<In, Out, Params>,
): TaskExecutor<In, Exclude<Awaited<Out>, NotYet>, Params> {
  return { type: "fn", run: run as TaskFunction<In, Exclude<Awaited<Out>, NotYet>, Params> };
}

/** Marks a builder across copies of this module: a DAG file may have loaded its own. */
const BUILDER = Symbol.for("sluice.dag");

type AnyExecutor = TaskExecutor<Outputs, unknown>;

/** A DAG shares all its tasks but the last with the one it was made from. */
type Step = { id: string; options: TaskOptions; executor: AnyExecutor; before: Step | undefined };

export class Dag<Known extends Outputs = Record<never, never>, P extends ParamSchemas = Record<never, never>> {
  readonly [BUILDER] = true;
  readonly id: string;
  readonly #options: DagOptions;
  readonly #last: Step | undefined;

  constructor(id: string, options: DagOptions, last?: Step) {
    this.id = id;
    this.#options = options;
    this.#last = last;
  }

  task<const Id extends string, Out>(
    id: NewId<Id, Known>,
    executor: TaskExecutor<Record<never, never>, Out, ParamValues<P>>,
  ): Dag<Known & Record<Id, Jsonified<Out>>, P>;
  task<
    const Id extends string,
    Out,
    const Parent extends keyof Known & string = never,
    const Rule extends TriggerRule = "all_success",
  >(
    id: NewId<Id, Known>,
    options: TaskOptions<Parent, Rule>,
    executor: TaskExecutor<Inputs<Known, Parent, Rule>, Out, ParamValues<P>>,
  ): Dag<Known & Record<Id, Jsonified<Out>>, P>;
  task(id: string, ...rest: readonly unknown[]): unknown {
    const [options, executor] = rest.length === 1 ? [{}, rest[0]] : rest;
    return new Dag(this.id, this.#options, {
      id,
      options: options as TaskOptions,
      executor: executor as AnyExecutor,
      before: this.#last,
    });
  }

  /**
   * The canonical model. `module` is the path under which a worker imports this DAG's functions; `plugins` are the types
   * of task beside the built-in ones, without it those of the DAG's own tasks. Throws a `DefinitionError` with everything
   * that is wrong.
   */
  toSpec(module: string, plugins: PluginTypes = this.#plugins()): DagSpec {
    const steps = this.#steps();
    const unknown = steps.flatMap(({ id, executor }) => {
      if (executor.type !== "plugin") return [];
      const { type } = executor.plugin;
      if (plugins.some((plugin) => plugin.type === type)) return [];
      return [`task "${id}": its type "${type}" is a plugin's, and SLUICE_PLUGINS does not name the plugin`];
    });
    if (unknown.length > 0) throw new DefinitionError(this.id, unknown);
    const tasks = steps.map(({ id, options, executor }) => ({ id, ...options, ...written(id, executor, module) }));
    return dataToSpec({ id: this.id, ...this.#options, tasks }, plugins);
  }

  /** The DAG as a YAML file that lies beside `module`, from which its functions are taken. */
  toYAML(module = "./dag.ts"): string {
    return toYaml(this.toSpec(module));
  }

  /** The function of a task, if it has one. */
  functionOf(taskId: string): TaskFunction<Outputs, unknown, Outputs> | undefined {
    for (let step = this.#last; step !== undefined; step = step.before) {
      if (step.id === taskId) return step.executor.type === "fn" ? step.executor.run : undefined;
    }
    return undefined;
  }

  #plugins(): PluginTypes {
    const own = this.#steps().flatMap(({ executor }) => (executor.type === "plugin" ? [executor.plugin] : []));
    return [...new Set(own)].map(typeOfDefinition);
  }

  #steps(): Step[] {
    const steps: Step[] = [];
    for (let step = this.#last; step !== undefined; step = step.before) steps.push(step);
    return steps.reverse();
  }
}

/** The key of a task's type and what it holds, as in a file. */
function written(id: string, executor: AnyExecutor, module: string): Record<string, unknown> {
  if (executor.type === "fn") return { fn: `${module}#default.${id}` };
  return { [executor.type === "plugin" ? executor.plugin.type : executor.type]: executor.config };
}

/** Starts a DAG; add tasks with `.task()` and export the result as the file's default. */
export function dag<const P extends ParamSchemas = Record<never, never>>(
  id: string,
  options: DagOptions<P> = {},
): Dag<Record<never, never>, P> {
  return new Dag(id, options);
}

export function isDag(value: unknown): value is Dag {
  return typeof value === "object" && value !== null && BUILDER in value;
}
