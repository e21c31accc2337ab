import { Command } from "commander";
import { withEngine } from "./engine.ts";
import { usageIsTrouble } from "./exit.ts";
import { printJson, printLine, table } from "./print.ts";

/** `sluice workers` */
export function workersCommand(): Command {
  return usageIsTrouble(new Command("workers"))
    .description("The workers with what they run, and why one starts no task.")
    .option("--json", "print JSON")
    .action((options: { json?: true }) =>
      withEngine("workers", async ({ pool }) => {
        const { listWorkers } = await import("#lib/db/worker-reads.ts");
        const workers = await listWorkers(pool);
        if (options.json) return printJson({ workers });
        const rows = workers.map(({ id, state, running, slots, queues, trouble }) => [
          id,
          state,
          String(running),
          `${slots.process}/${slots.function}/${slots.inline}`,
          queues.join(","),
          trouble ?? "",
        ]);
        const titles = ["worker", "state", "running", "process/function/inline", "queues", "trouble"];
        for (const line of table(titles, rows)) printLine(line);
      }),
    );
}
