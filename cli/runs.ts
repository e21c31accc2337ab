import { RETURN_VALUE } from "#lib/domain/xcom.ts";
import { Command } from "commander";
import type { DagRun } from "#lib/contract/dag-runs.ts";
import type { TaskInstance } from "#lib/contract/task-instances.ts";
import { isFinalRunState } from "#lib/domain/states.ts";
import { actionSentence } from "#lib/domain/why.ts";
import type { Attempt } from "#lib/contract/task-instances.ts";
import type { Json as JsonValue } from "#lib/domain/canonical.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { withEngine } from "./engine.ts";
import { EXIT, trouble, usageIsTrouble } from "./exit.ts";
import { printJson, printLine, table } from "./print.ts";
import { parseConf, parseRunId, parseTime, runOrExit, several } from "./run-arguments.ts";

const POLL_MS = 200;

type Json = { json?: true };
const JSON_OPTION = ["--json", "print JSON"] as const;

/** `sluice runs` */
export function runsCommand(): Command {
  const runs = usageIsTrouble(new Command("runs"))
    .description("Start runs, look at them, and change what they do.")
    .addHelpText(
      "after",
      `
Examples:
  $ sluice runs trigger etl --conf '{"day": "2026-01-31"}' --wait
  $ sluice runs show 42
  $ sluice runs clear 42 --only-failed      run again what did not end well

Exit code: 0 done, 1 refused or the run failed, 2 there is no such run.`,
    );
  for (const command of [trigger(), list(), show(), cancel(), pause(), resume(), clear()]) runs.addCommand(command);
  return runs;
}

function trigger(): Command {
  type Options = Json & {
    conf?: Record<string, unknown>;
    logicalDate?: Date;
    note?: string;
    key?: string;
    wait?: true;
  };
  return usageIsTrouble(new Command("trigger"))
    .description("Start a run of a DAG's current version.")
    .argument("<dag>", "the DAG")
    .option("--conf <json>", "the run's params", parseConf)
    .option(
      "--logical-date <time>",
      "where the interval begins that the run is about (default: now, and the last one that is over)",
      parseTime,
    )
    .option("--note <text>", "why")
    .option("--key <text>", "the same key gives the same run, however often it is sent")
    .option("--wait", "wait for its end; 0 when it succeeded, else 1. Ctrl-C leaves the run going")
    .option(...JSON_OPTION)
    .action((dagId: string, options: Options) =>
      withEngine("runs-trigger", async (deps, actor) => {
        const { startRun } = await import("#lib/engine/start-run.ts");
        const { conf = {}, logicalDate, note, key: idempotencyKey } = options;
        const request = { dagId, conf, logicalDate, note, idempotencyKey, triggerKind: "manual" as const, actor };
        const { runId } = await startRun(deps, request);
        const run = options.wait ? await ended(deps, runId) : await runOrExit(deps, runId);
        if (options.wait && run.state !== "success") process.exitCode = EXIT.no;
        if (options.json) printJson(run);
        else printLine(`run ${run.id} of ${run.dagId}: ${run.state}`);
      }),
    );
}

async function ended(deps: EngineDeps, runId: string): Promise<DagRun> {
  for (;;) {
    const run = await runOrExit(deps, runId);
    if (isFinalRunState(run.state) && run.action === null) return run;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function list(): Command {
  return usageIsTrouble(new Command("list"))
    .description("Runs, the newest first.")
    .option("--dag <id>", "only of this DAG")
    .option("--limit <count>", "at most so many (default 20)")
    .option(...JSON_OPTION)
    .action((options: Json & { dag?: string; limit?: string }) =>
      withEngine("runs-list", async ({ pool }) => {
        const { listRuns } = await import("#lib/db/run-reads.ts");
        const limit = Math.min(Math.max(Number(options.limit ?? 20) || 20, 1), 1_000);
        const { items } = await listRuns(pool, { dagId: options.dag, limit });
        if (options.json) return printJson({ runs: items });
        const rows = items.map((run) => [
          run.id,
          run.dagId,
          String(run.version),
          run.state,
          run.createdAt,
          startedBy(run),
        ]);
        for (const line of table(["run", "dag", "version", "state", "created", "by"], rows)) printLine(line);
      }),
    );
}

function startedBy({ actor, backfillId }: DagRun): string {
  return backfillId === null ? actor : `${actor}, backfill ${backfillId}`;
}

function show(): Command {
  return usageIsTrouble(new Command("show"))
    .description("A run with its tasks, and why those that wait do.")
    .argument("<run>", "the run's number", parseRunId)
    .option(...JSON_OPTION)
    .action((runId: string, options: Json) =>
      withEngine("runs-show", async (deps) => {
        const run = await runOrExit(deps, runId);
        const tasks = await tasksOf(deps, runId);
        const why = await queuedReason(deps, runId);
        if (options.json) return printJson({ run, why, tasks });
        printLine(`run ${run.id} of ${run.dagId}, version ${run.version}: ${run.state}`);
        if (run.backfillId !== null) printLine(`of backfill ${run.backfillId}`);
        printLine(aboutLine(run));
        if (run.action !== null) printLine(actionSentence(run.action));
        if (why !== null) printLine(why);
        if (tasks.length === 0) return;
        const rows = tasks.map((task) => [
          task.taskId,
          task.state,
          String(task.attempt),
          task.workerId ?? "",
          task.why,
        ]);
        for (const line of table(["task", "state", "attempts", "worker", "why"], rows)) printLine(line);
      }),
    );
}

function aboutLine({ logicalDate, intervalStart, intervalEnd }: DagRun): string {
  const moment = `logical date ${logicalDate}`;
  return intervalStart === intervalEnd ? moment : `${moment}, interval ${intervalStart} to ${intervalEnd}`;
}

/** Why the run has not started; null when it has. */
async function queuedReason({ pool }: EngineDeps, runId: string): Promise<string | null> {
  const [{ findQueuedRun }, { whyQueued }] = await Promise.all([
    import("#lib/db/situation-reads.ts"),
    import("#lib/domain/why.ts"),
  ]);
  const queued = await findQueuedRun(pool, runId);
  return queued === undefined ? null : whyQueued(queued);
}

/** `output` is null when the task left none; `xcoms` is what else it pushed, by key. */
type ShownTask = TaskInstance & {
  why: string;
  attempts: Attempt[];
  output: JsonValue;
  xcoms: Record<string, JsonValue>;
};

async function tasksOf({ pool }: EngineDeps, runId: string): Promise<ShownTask[]> {
  const [{ listRunTasks }, { listSituations }, { listRunAttempts }, { runXcoms }, { whySentence }] = await Promise.all([
    import("#lib/db/run-reads.ts"),
    import("#lib/db/situation-reads.ts"),
    import("#lib/db/attempt-reads.ts"),
    import("#lib/db/xcoms.ts"),
    import("#lib/domain/why.ts"),
  ]);
  const [tasks, situations, attempts, xcoms] = await Promise.all([
    listRunTasks(pool, runId),
    listSituations(pool, runId),
    listRunAttempts(pool, runId),
    runXcoms(pool, runId),
  ]);
  return tasks.map((task) => {
    const situation = situations.get(task.id);
    const why = situation === undefined ? "" : whySentence(situation);
    const { [RETURN_VALUE]: output = null, ...pushed } = xcoms.get(task.id) ?? {};
    return { ...task, why, attempts: attempts.get(task.id) ?? [], output, xcoms: pushed };
  });
}

/** A command that changes a run and says whether there was anything to change. */
function change(
  name: string,
  about: string,
  done: string,
  act: (deps: EngineDeps, runId: string, actor: string) => Promise<boolean>,
): Command {
  return usageIsTrouble(new Command(name))
    .description(about)
    .argument("<run>", "the run's number", parseRunId)
    .option(...JSON_OPTION)
    .action((runId: string, options: Json) =>
      withEngine(`runs-${name}`, async (deps, actor) => {
        const changed = await act(deps, runId, actor);
        if (!changed) process.exitCode = EXIT.no;
        if (options.json) return printJson({ run: runId, changed });
        const { action } = await runOrExit(deps, runId);
        if (action !== null) return printLine(actionSentence(action));
        printLine(changed ? `run ${runId} is ${done}` : `run ${runId} has ended already`);
      }),
    );
}

function cancel(): Command {
  return change("cancel", "End everything of a run that has not ended.", "cancelled", async (deps, runId, actor) => {
    const { cancelRun } = await import("#lib/engine/run-actions.ts");
    return cancelRun(deps, runId, { actor });
  });
}

function pause(): Command {
  const about = "Admit nothing of a run until it is resumed; what runs goes on.";
  return change("pause", about, "paused", async (deps, runId, actor) => {
    const { pauseRun } = await import("#lib/engine/pause.ts");
    return pauseRun(deps, runId, actor);
  });
}

function resume(): Command {
  return change("resume", "Go on with a paused run.", "going on", async (deps, runId) => {
    const { resumeRun } = await import("#lib/engine/pause.ts");
    return resumeRun(deps, runId);
  });
}

function clear(): Command {
  type Options = Json & { task?: string[]; upstream?: true; downstream?: true; onlyFailed?: true };
  return usageIsTrouble(new Command("clear"))
    .description("Let tasks run again as if they never had. Their attempts stay in the history.")
    .argument("<run>", "the run's number", parseRunId)
    .option("--task <id>", "only this task; may be given several times", several)
    .option("--upstream", "and what it depends on")
    .option("--downstream", "and what depends on it")
    .option("--only-failed", "of all those, only what did not end well")
    .option(...JSON_OPTION)
    .action((runId: string, options: Options) =>
      withEngine("runs-clear", async (deps, actor) => {
        const { clearRun } = await import("#lib/engine/run-actions.ts");
        const { task: tasks, upstream, downstream, onlyFailed } = options;
        if (tasks === undefined && (upstream ?? downstream))
          return trouble("--upstream and --downstream need a --task");
        const changed = await clearRun(deps, runId, { tasks, upstream, downstream, onlyFailed }, { actor });
        if (!changed) process.exitCode = EXIT.no;
        if (options.json) return printJson({ run: runId, changed });
        const { action } = await runOrExit(deps, runId);
        if (action !== null) return printLine(actionSentence(action));
        printLine(changed ? `run ${runId} goes on` : `there is nothing of run ${runId} to clear`);
      }),
    );
}
