import type { TaskSpec } from "#lib/domain/model/task.ts";
import type { TaskType } from "#lib/domain/model/task-types.ts";
import { bash } from "./bash.ts";
import type { Executor } from "./executor.ts";
import { fn } from "./fn.ts";
import { http } from "./http.ts";
import { noop } from "./noop.ts";
import { python } from "./python.ts";
import { sql } from "./sql.ts";

type ConfigOf<T extends TaskType> = Extract<TaskSpec, { type: T }>["config"];

/** Every task type and who runs it; a type without an executor does not compile. */
export const EXECUTORS: { readonly [T in TaskType]: Executor<ConfigOf<T>> } = { bash, python, fn, http, sql, noop };
