import type { TaskType } from "#lib/domain/model/task-types.ts";
import { bash } from "./bash.ts";
import { docker } from "./docker.ts";
import type { BuiltIn, Executor } from "./executor.ts";
import { fn } from "./fn.ts";
import { http } from "./http.ts";
import { noop } from "./noop.ts";
import { python } from "./python.ts";
import { sql } from "./sql.ts";

/** Every built-in task type and what runs it; a type without an executor does not compile. */
export const EXECUTORS: { readonly [T in TaskType]: BuiltIn<T> } = {
  bash,
  python,
  fn,
  http,
  sql,
  docker,
  noop,
};

/** The executors of a process, by type of task: the built-in ones, and those of its plugins. */
export type Executors = ReadonlyMap<string, Executor>;

/** Expects plugins with types of their own. */
export function executorsWith(plugins: readonly Executor[]): Executors {
  return new Map([...Object.values(EXECUTORS), ...plugins].map((executor: Executor) => [executor.type, executor]));
}

/** The types of task that can be run, as a worker says them of itself. */
export function typesOf(executors: Executors): string[] {
  return [...executors.keys()];
}
