import { setTimeout as delay } from "node:timers/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { type LevelFilter, levelFilter } from "#lib/domain/log-lines/level-filter.ts";
import { LOG_LEVELS, type LogLevel } from "#lib/domain/log-lines/level-words.ts";
import { TASK_STATES, type TaskState } from "#lib/domain/states.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { withEngine } from "./engine.ts";
import { trouble, usageIsTrouble } from "./exit.ts";
import { printJson, printLine, table } from "./print.ts";
import { parseRunId, runOrExit, taskOrExit } from "./run-arguments.ts";

/** How often `--follow` looks for more. */
const LOOK_MS = 300;

/** `sluice tasks list` */
export function listCommand(): Command {
  return usageIsTrouble(new Command("list"))
    .description("The tasks of a run.")
    .argument("<run>", "the run's number", parseRunId)
    .addOption(new Option("--state <state>", "only those in this state").choices([...TASK_STATES]))
    .option("--json", "print JSON")
    .action((runId: string, options: { state?: TaskState; json?: true }) =>
      withEngine("tasks-list", async (deps) => {
        await runOrExit(deps, runId);
        const { listRunTasks } = await import("#lib/db/run-reads.ts");
        const all = await listRunTasks(deps.pool, runId);
        const tasks = all.filter((task) => options.state === undefined || task.state === options.state);
        if (options.json) return printJson({ tasks });
        const rows = tasks.map((task) => [
          task.taskId,
          task.type,
          task.state,
          String(task.attempt),
          task.workerId ?? "",
          task.startedAt ?? "",
          task.endedAt ?? "",
        ]);
        for (const line of table(["task", "type", "state", "attempt", "worker", "started", "ended"], rows))
          printLine(line);
      }),
    );
}

/** `sluice tasks show` */
export function showCommand(): Command {
  return usageIsTrouble(new Command("show"))
    .description("A task with why it is where it is, and every attempt.")
    .argument("<run>", "the run's number", parseRunId)
    .argument("<task>", "the task's id")
    .option("--json", "print JSON")
    .action((runId: string, taskId: string, options: { json?: true }) =>
      withEngine("tasks-show", async (deps) => {
        const id = await taskOrExit(deps, runId, taskId);
        const [{ findSituation }, { whySentence }, { listAttempts }] = await Promise.all([
          import("#lib/db/situation-reads.ts"),
          import("#lib/domain/why.ts"),
          import("#lib/db/attempt-reads.ts"),
        ]);
        const situation = (await findSituation(deps.pool, id))!;
        const attempts = await listAttempts(deps.pool, id);
        const why = whySentence(situation);
        if (options.json) return printJson({ ...situation, why, attempts });
        printLine(`${taskId} of run ${runId} is ${situation.state}: ${why}`);
        const rows = attempts.map((attempt) => [
          String(attempt.number),
          attempt.state,
          attempt.reason ?? "",
          attempt.exitCode === null ? "" : String(attempt.exitCode),
          attempt.deferrals === 0 ? "" : String(attempt.deferrals),
          attempt.workerId ?? "",
          attempt.startedAt ?? "",
          attempt.endedAt ?? "",
          attempt.error ?? "",
        ]);
        const headings = ["attempt", "state", "reason", "exit", "deferrals", "worker", "started", "ended", "error"];
        for (const line of table(headings, rows)) printLine(line);
        for (const { number, lostLogBytes } of attempts)
          if (lostLogBytes > 0)
            printLine(
              `${lostLogBytes} bytes of the output of attempt ${number} were lost: the database did not store them`,
            );
      }),
    );
}

type LogOptions = { attempt?: number; follow?: boolean; level?: LogLevel };

/** `sluice tasks logs` */
export function logsCommand(): Command {
  return usageIsTrouble(new Command("logs"))
    .description("What an attempt wrote.")
    .argument("<run>", "the run's number", parseRunId)
    .argument("<task>", "the task's id")
    .option("--attempt <number>", "the latest when absent", parseAttempt)
    .option("--follow", "go on until the attempt ends")
    .addOption(
      new Option("--level <level>", "only lines at least as grave; what says no level counts as info").choices([
        ...LOG_LEVELS,
      ]),
    )
    .action((runId: string, taskId: string, options: LogOptions) =>
      withEngine("tasks-logs", async (deps) => {
        const id = await taskOrExit(deps, runId, taskId);
        const { listAttempts } = await import("#lib/db/attempt-reads.ts");
        const attempts = await listAttempts(deps.pool, id);
        const number = options.attempt ?? attempts.at(-1)?.number;
        if (options.attempt !== undefined && !attempts.some((attempt) => attempt.number === number))
          return trouble(`${taskId} of run ${runId} has no attempt ${number}; it had ${attempts.length}`);
        if (number === undefined && !options.follow) return;
        await print(deps, { taskInstanceId: id, number: number ?? 1 }, options);
      }),
    );
}

const UNFILTERED: LevelFilter = { write: (_, bytes) => [bytes], end: () => [] };

async function print(
  { pool, logs }: EngineDeps,
  attempt: { taskInstanceId: string; number: number },
  { follow = false, level }: LogOptions,
): Promise<void> {
  const lines = level === undefined ? UNFILTERED : levelFilter(level);
  const write = (pieces: readonly Uint8Array[]): void => pieces.forEach((piece) => void process.stdout.write(piece));
  const { listAttempts } = await import("#lib/db/attempt-reads.ts");
  for (let after = -1; ;) {
    const known = (await listAttempts(pool, attempt.taskInstanceId)).find(({ number }) => number === attempt.number);
    // Looked at before the log is read: what it wrote last is stored before it ends.
    const ended = known !== undefined && known.endedAt !== null;
    const chunks = await logs.read(attempt, after);
    for (const { chunk, seq, stream } of chunks) {
      write(lines.write(stream, chunk));
      after = seq;
    }
    if (chunks.length > 0) continue;
    if (ended || !follow) return write(lines.end());
    await delay(LOOK_MS);
  }
}

function parseAttempt(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give an attempt's number, like 2.");
}
