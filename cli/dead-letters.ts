import { Command } from "commander";
import type { DeadLetter, DeadLetterFilter } from "#lib/db/dead-letters.ts";
import { runIdOf } from "#lib/domain/ids.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { withEngine } from "./engine.ts";
import { EXIT, trouble, usageIsTrouble } from "./exit.ts";
import { count, printJson, printLine, shorten, table } from "./print.ts";
import { parseRunId } from "./run-arguments.ts";

type Options = { dag?: string; all?: true; json?: true };

/** `sluice dead-letters` */
export function deadLettersCommand(): Command {
  const letters = usageIsTrouble(new Command("dead-letters"))
    .description("Tasks that failed for good, until somebody runs them again or sets them aside.")
    .addHelpText(
      "after",
      `
Examples:
  $ sluice dead-letters list --dag etl
  $ sluice dead-letters show 42 load
  $ sluice dead-letters replay 42          every one of run 42, and what depends on them
  $ sluice dead-letters dismiss 42 load    nothing is run again

Exit code: 0 done, 1 there was nothing to do, 2 there is no such dead letter.`,
    );
  for (const command of [list(), show(), replay(), dismiss()]) letters.addCommand(command);
  return letters;
}

function list(): Command {
  return usageIsTrouble(new Command("list"))
    .description("What is open, newest first.")
    .option("--dag <id>", "of one DAG")
    .option("--all", "also what was dismissed")
    .option("--json", "print JSON")
    .action(({ dag, all, json }: Options) =>
      withEngine("dead-letters-list", async (deps) => {
        const letters = await find(deps, { dagId: dag, all });
        if (json) return printJson({ deadLetters: letters });
        const rows = letters.map((letter) => [
          letter.runId,
          letter.dagId,
          letter.taskId,
          String(letter.attempt),
          letter.failedAt.toISOString(),
          letter.dismissedBy === null ? "open" : `dismissed by ${letter.dismissedBy}`,
          `${letter.reason} ${shorten(letter.error ?? "", 60)}`.trim(),
        ]);
        for (const line of table(["run", "dag", "task", "attempt", "failed", "state", "why"], rows)) printLine(line);
      }),
    );
}

function show(): Command {
  return usageIsTrouble(new Command("show"))
    .description("One of them, with its whole error.")
    .argument("<run>", "the run's number", parseRunId)
    .argument("<task>", "the task's id")
    .option("--json", "print JSON")
    .action((runId: string, taskId: string, { json }: Options) =>
      withEngine("dead-letters-show", async (deps) => {
        const [letter] = await find(deps, { runId, taskId, all: true });
        if (letter === undefined) return trouble(`task "${taskId}" of run ${runId} has no dead letter`);
        if (json) return printJson(letter);
        printLine(`${letter.taskId} of run ${letter.runId} (${letter.dagId}), attempt ${letter.attempt}`);
        printLine(`failed ${letter.failedAt.toISOString()}: ${letter.reason}`);
        if (letter.dismissedBy !== null) printLine(`dismissed by ${letter.dismissedBy}`);
        if (letter.error !== null) printLine(`\n${letter.error}`);
      }),
    );
}

function onLetters(name: string, about: string): Command {
  return usageIsTrouble(new Command(name))
    .description(about)
    .argument("<run>", "the run's number", parseRunId)
    .argument("[task]", "the task's id; without it, every one of the run")
    .option("--json", "print JSON");
}

type Act = (deps: EngineDeps, ids: readonly string[], actor: string) => Promise<number>;

async function change(name: string, filter: DeadLetterFilter, { json }: Options, act: Act): Promise<void> {
  await withEngine(`dead-letters-${name}`, async (deps, actor) => {
    const letters = await find(deps, filter);
    const changed = await act(
      deps,
      letters.map((letter) => letter.taskInstanceId),
      actor,
    );
    if (changed === 0) process.exitCode = EXIT.no;
    if (json) printJson({ changed });
    else printLine(changed === 0 ? "there is nothing to do" : `${name}: ${count(changed, "dead letter")}`);
  });
}

function replay(): Command {
  return onLetters("replay", "Run them again, and all that depends on them.").action(
    (runId: string, taskId: string | undefined, options: Options) =>
      change("replay", { runId, taskId }, options, async (deps, ids, actor) => {
        const { clearTasks } = await import("#lib/engine/run-actions.ts");
        // One action for each run: a second one is refused while the first is carried out.
        for (const some of Map.groupBy(ids, runIdOf).values())
          await clearTasks(deps, some, { actor, reason: "REPLAYED" });
        return ids.length;
      }),
  );
}

function dismiss(): Command {
  return onLetters("dismiss", "Set them aside; nothing is run again.").action(
    (runId: string, taskId: string | undefined, options: Options) =>
      change("dismiss", { runId, taskId }, options, async (deps, ids, actor) => {
        const { dismissDeadLetters } = await import("#lib/db/dead-letters.ts");
        return dismissDeadLetters(deps.pool, ids, actor);
      }),
  );
}

async function find(deps: EngineDeps, filter: DeadLetterFilter): Promise<DeadLetter[]> {
  const { listDeadLetters } = await import("#lib/db/dead-letters.ts");
  return listDeadLetters(deps.pool, filter);
}
