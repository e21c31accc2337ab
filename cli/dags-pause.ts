import { Command } from "commander";
import { withEngine } from "./engine.ts";
import { usageIsTrouble } from "./exit.ts";
import { printLine } from "./print.ts";

/** `sluice dags pause` */
export function pauseCommand(): Command {
  return usageIsTrouble(new Command("pause"))
    .description("Start nothing of a DAG until it is unpaused; what runs goes on to its end, and so do backfills.")
    .argument("<dag>", "the DAG's id")
    .action((dagId: string) =>
      withEngine("dags-pause", async (deps, actor) => {
        const { pauseDag } = await import("#lib/engine/pause.ts");
        await pauseDag(deps, dagId, actor);
        printLine(`${dagId} is paused`);
      }),
    );
}

/** `sluice dags unpause` */
export function unpauseCommand(): Command {
  return usageIsTrouble(new Command("unpause"))
    .description("Let a DAG go on. Runs that its schedules had due meanwhile are left out.")
    .argument("<dag>", "the DAG's id")
    .option("--catch-up", "make up for runs that were due in the pause, as the DAG's `catchup` says")
    .action((dagId: string, options: { catchUp?: true }) =>
      withEngine("dags-unpause", async (deps) => {
        const { unpauseDag } = await import("#lib/engine/pause.ts");
        await unpauseDag(deps, dagId, { catchesUp: options.catchUp ?? false });
        printLine(`${dagId} goes on`);
      }),
    );
}
