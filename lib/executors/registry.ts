import type { TaskSpec, TaskType } from "#lib/domain/dag.ts";
import { bash } from "./bash.ts";
import type { Executor } from "./executor.ts";
import { fn } from "./fn.ts";

type ConfigOf<T extends TaskType> = Extract<TaskSpec, { type: T }>["config"];

/** Every task type and who runs it; a type without an executor does not compile. */
export const EXECUTORS: { readonly [T in TaskType]: Executor<ConfigOf<T>> } = { bash, fn };
