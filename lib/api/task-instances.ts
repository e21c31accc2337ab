import type { WebDeps } from "#lib/boot.ts";
import { EVENT_STREAM } from "#lib/contract/op.ts";
import type { getTaskInstance, readTaskLog, TaskInstance } from "#lib/contract/task-instances.ts";
import { listAttempts } from "#lib/db/attempt-reads.ts";
import { findRun, findTaskInstance } from "#lib/db/run-reads.ts";
import { AppError } from "#lib/domain/errors.ts";
import { followLog } from "./follow-log.ts";
import type { Handlers } from "./handler.ts";
import { wholeLog } from "./whole-log.ts";

type Operations = { getTaskInstance: typeof getTaskInstance; readTaskLog: typeof readTaskLog };

export const taskInstanceHandlers: Handlers<Operations> = {
  async getTaskInstance({ params }, deps) {
    const task = await requireTaskInstance(deps, params.taskInstanceId);
    const [run, history] = await Promise.all([
      findRun(deps.engine.pool, task.runId),
      listAttempts(deps.engine.pool, task.id),
    ]);
    return { status: 200, body: { ...task, dagId: run?.dagId ?? "", history } };
  },

  async readTaskLog({ params, query, headers, signal, actor }, deps) {
    const task = await requireTaskInstance(deps, params.taskInstanceId);
    const number = query.attempt ?? Math.max(task.attempt, 1);
    const follow = query.follow === undefined ? headers.accept?.includes(EVENT_STREAM) : query.follow === "true";
    if (!follow) return wholeLog(deps, { taskInstanceId: task.id, number }, query.level);
    if (query.level !== undefined)
      throw new AppError("invalid_request", "level is for a log that is not followed: add follow=false.");
    const afterSeq = Number(headers["last-event-id"] ?? -1);
    return followLog(deps, { taskInstanceId: task.id, runId: task.runId, number, afterSeq }, signal, actor);
  },
};

async function requireTaskInstance(deps: WebDeps, taskInstanceId: string): Promise<TaskInstance> {
  const task = await findTaskInstance(deps.engine.pool, taskInstanceId);
  if (task === undefined) throw new AppError("task_instance_not_found", `There is no task instance ${taskInstanceId}.`);
  return task;
}
