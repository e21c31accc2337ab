import { Command, InvalidArgumentError } from "commander";
import { isId } from "#lib/domain/ids.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { createCommand } from "./backfill-create.ts";
import { listCommand, showCommand } from "./backfill-show.ts";
import { withEngine } from "./engine.ts";
import { EXIT, usageIsTrouble } from "./exit.ts";
import { count, printJson, printLine } from "./print.ts";

/** `sluice backfill` */
export function backfillCommand(): Command {
  const backfill = usageIsTrouble(new Command("backfill"))
    .description("Run a DAG over a range of its schedule's past dates, with limits and a cancel of its own.")
    .addHelpText(
      "after",
      `
Examples:
  $ sluice backfill create --dag etl --start 2026-01-01 --end 2026-01-31 --dry-run
  $ sluice backfill create --dag etl --start 2026-01-01 --end 2026-01-31 --max-active 4
  $ sluice backfill show 7 --watch
  $ sluice backfill retry 7                 run again the dates that failed

Exit code: 0 done, 1 refused or not all runs succeeded, 2 there is no such DAG or backfill.`,
    );
  for (const command of [
    createCommand(),
    listCommand(),
    showCommand(parseBackfillId),
    pause(),
    resume(),
    cancel(),
    retry(),
  ])
    backfill.addCommand(command);
  return backfill;
}

function parseBackfillId(text: string): string {
  if (isId(text)) return text;
  throw new InvalidArgumentError("Give a backfill's number, like 7.");
}

/** A command that changes a backfill: `act` answers whether it did, and what is to be said. */
function change(
  name: string,
  about: string,
  act: (deps: EngineDeps, id: string, actor: string) => Promise<{ changed: boolean; says: string }>,
): Command {
  return usageIsTrouble(new Command(name))
    .description(about)
    .argument("<backfill>", "the backfill's number", parseBackfillId)
    .option("--json", "print JSON")
    .action((id: string, options: { json?: true }) =>
      withEngine(`backfill-${name}`, async (deps, actor) => {
        const { changed, says } = await act(deps, id, actor);
        if (!changed) process.exitCode = EXIT.no;
        if (options.json) printJson({ backfill: id, changed });
        else printLine(`backfill ${id} ${says}`);
      }),
    );
}

function pause(): Command {
  const about = "Start nothing more of a backfill until it is resumed; what runs goes on to its end.";
  return change("pause", about, async (deps, id, actor) => {
    const { pauseBackfill } = await import("#lib/engine/backfill/pause.ts");
    const state = await pauseBackfill(deps, id, actor);
    return state === "paused" ? { changed: true, says: "is paused" } : { changed: false, says: `is ${state}` };
  });
}

function resume(): Command {
  return change("resume", "Go on with a paused backfill.", async (deps, id, actor) => {
    const { resumeBackfill } = await import("#lib/engine/backfill/pause.ts");
    const state = await resumeBackfill(deps, id, actor);
    return state === "running" ? { changed: true, says: "goes on" } : { changed: false, says: `is ${state}` };
  });
}

function cancel(): Command {
  return change("cancel", "End all runs of a backfill that have not ended.", async (deps, id, actor) => {
    const { cancelBackfill } = await import("#lib/engine/backfill/cancel.ts");
    const changed = await cancelBackfill(deps, id, actor);
    return { changed, says: changed ? "is being cancelled" : "has ended already" };
  });
}

function retry(): Command {
  const about = "Run again, with the DAG as it is now, the dates whose latest run failed or was cancelled.";
  return change("retry", about, async (deps, id, actor) => {
    const { retryBackfill } = await import("#lib/engine/backfill/retry.ts");
    const dates = await retryBackfill(deps, id, actor);
    return { changed: dates > 0, says: dates > 0 ? `tries ${count(dates, "date")} again` : "has nothing to try again" };
  });
}
