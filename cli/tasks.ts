import { Argument, Command } from "commander";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { Mark } from "#lib/engine/run-actions.ts";
import { withEngine } from "./engine.ts";
import { EXIT, usageIsTrouble } from "./exit.ts";
import { printJson, printLine } from "./print.ts";
import { parseRunId, taskOrExit } from "./run-arguments.ts";
import { listCommand, logsCommand, showCommand } from "./tasks-look.ts";

type Json = { json?: true };

/** `sluice tasks` */
export function tasksCommand(): Command {
  const tasks = usageIsTrouble(new Command("tasks"))
    .description("Look at the tasks of a run, and change what they do.")
    .addHelpText(
      "after",
      `
Examples:
  $ sluice tasks why 42 load           why it is not running
  $ sluice tasks list 42 --state failed
  $ sluice tasks logs 42 load --follow what it writes
  $ sluice tasks retry 42 load         run it again, and what depends on it
  $ sluice tasks mark 42 load success

Exit code: 0 done, 1 there was nothing to change, 2 there is no such task.`,
    );
  for (const command of [listCommand(), showCommand(), why(), logsCommand(), retry(), mark(), kill()])
    tasks.addCommand(command);
  return tasks;
}

function onTask(name: string, about: string): Command {
  return usageIsTrouble(new Command(name))
    .description(about)
    .argument("<run>", "the run's number", parseRunId)
    .argument("<task>", "the task's id");
}

function why(): Command {
  return onTask("why", "Why a task is not running, or what it does.")
    .option("--json", "print JSON")
    .action((runId: string, taskId: string, options: Json) =>
      withEngine("tasks-why", async (deps) => {
        const id = await taskOrExit(deps, runId, taskId);
        const [{ findSituation }, { whySentence }] = await Promise.all([
          import("#lib/db/situation-reads.ts"),
          import("#lib/domain/why.ts"),
        ]);
        const situation = (await findSituation(deps.pool, id))!;
        const sentence = whySentence(situation);
        if (options.json) printJson({ ...situation, why: sentence });
        else printLine(`${taskId} is ${situation.state}: ${sentence}`);
      }),
    );
}

type Act = (deps: EngineDeps, taskInstanceId: string, actor: string) => Promise<boolean>;

async function changeTask(name: string, runId: string, taskId: string, options: Json, act: Act): Promise<void> {
  await withEngine(name, async (deps, actor) => {
    const changed = await act(deps, await taskOrExit(deps, runId, taskId), actor);
    if (!changed) process.exitCode = EXIT.no;
    if (options.json) printJson({ run: runId, task: taskId, changed });
    else printLine(changed ? `${taskId} of run ${runId} was changed` : `there is nothing to change at ${taskId}`);
  });
}

function retry(): Command {
  return onTask("retry", "Run a task again, and all that depends on it. What it does now is stopped.")
    .option("--json", "print JSON")
    .action((runId: string, taskId: string, options: Json) =>
      changeTask("tasks-retry", runId, taskId, options, async (deps, id, actor) => {
        const { clearTask } = await import("#lib/engine/run-actions.ts");
        return clearTask(deps, id, { actor });
      }),
    );
}

function mark(): Command {
  return onTask("mark", "Give a task an end by hand; what it had blocked is decided anew.")
    .addArgument(new Argument("<end>", "its end").choices(["success", "failed", "skipped"]))
    .option("--json", "print JSON")
    .action((runId: string, taskId: string, end: Mark, options: Json) =>
      changeTask("tasks-mark", runId, taskId, options, async (deps, id, actor) => {
        const { markTask } = await import("#lib/engine/run-actions.ts");
        return markTask(deps, id, end, { actor });
      }),
    );
}

function kill(): Command {
  return onTask("kill", "Stop what a task does and end it as failed, without another attempt.")
    .option("--json", "print JSON")
    .action((runId: string, taskId: string, options: Json) =>
      changeTask("tasks-kill", runId, taskId, options, async (deps, id, actor) => {
        const { killTask } = await import("#lib/engine/run-actions.ts");
        return killTask(deps, id, { actor });
      }),
    );
}
