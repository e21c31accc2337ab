import { CONTAINER_FOLDER } from "#lib/domain/model/docker-config.ts";
import { TASK_TYPES } from "#lib/domain/model/task-types.ts";
import type { BuiltIn } from "./executor.ts";
import { outcomeOf, taskFiles } from "./process-task.ts";

/** A container, with the files and variables of a process, in a folder of its own. */
export const docker: BuiltIn<"docker"> = {
  type: "docker",
  ...TASK_TYPES.docker,
  async run(context, { skipOn, failOn, ...config }) {
    const { attemptId, dagId, runId, taskId } = context.attempt;
    const exit = await context.contain({
      ...config,
      ...(await taskFiles(context, CONTAINER_FOLDER)),
      folder: CONTAINER_FOLDER,
      name: `sluice-${attemptId}`,
      labels: { "sluice.dag": dagId, "sluice.run": runId, "sluice.task": taskId, "sluice.attempt": attemptId },
    });
    return outcomeOf(exit, "container", { skipOn, failOn });
  },
};
