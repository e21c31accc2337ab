import { Command } from "commander";
import { QUARANTINE_KEYS, type QuarantinedDuty } from "#lib/db/quarantine.ts";
import { withEngine } from "./engine.ts";
import { trouble, usageIsTrouble } from "./exit.ts";
import { count, printJson, printLine, shorten, table } from "./print.ts";

/** `sluice quarantine` */
export function quarantineCommand(): Command {
  const quarantine = usageIsTrouble(new Command("quarantine"))
    .description("Rows that break a duty of the schedulers, which goes on without them.")
    .addHelpText(
      "after",
      `
A row is tried again after a minute, then after longer and longer, up to an hour. One that works again is forgotten.

Examples:
  $ sluice quarantine list
  $ sluice quarantine retry fire 42      try this schedule again now`,
    );
  for (const command of [list(), retry()]) quarantine.addCommand(command);
  return quarantine;
}

const MAX_ERROR = 200;

function list(): Command {
  return usageIsTrouble(new Command("list"))
    .description("What is left out, since when and why.")
    .option("--json", "print {quarantine: [{duty, key, error, failures, since, retryAt}]} as JSON")
    .action((options: { json?: true }) =>
      withEngine("quarantine-list", async ({ pool }) => {
        const { listQuarantine } = await import("#lib/db/quarantine.ts");
        const rows = await listQuarantine(pool);
        if (options.json) return printJson({ quarantine: rows });
        if (rows.length === 0) return printLine("nothing is in quarantine");
        const cells = rows.map(({ duty, key, failures, since, retryAt, error }) => [
          duty,
          `${QUARANTINE_KEYS[duty]} ${key}`,
          since.toISOString(),
          String(failures),
          retryAt.toISOString(),
          shorten(error, MAX_ERROR),
        ]);
        for (const line of table(["duty", "row", "since", "failures", "tried again", "error"], cells)) printLine(line);
      }),
    );
}

function retry(): Command {
  return usageIsTrouble(new Command("retry"))
    .description("Try a row again now, or all of them.")
    .argument("[duty]", Object.keys(QUARANTINE_KEYS).join(", "))
    .argument("[key]", "which one, as list shows it")
    .option("--json", "print {retried} as JSON")
    .action((duty: string | undefined, key: string | undefined, options: { json?: true }) =>
      withEngine("quarantine-retry", async ({ pool, notifier }) => {
        if (duty !== undefined && !isDuty(duty))
          return trouble(
            `there is no duty "${duty}" with a quarantine; there are ${Object.keys(QUARANTINE_KEYS).join(", ")}`,
          );
        const { retryQuarantined } = await import("#lib/db/quarantine.ts");
        const rows = await retryQuarantined(pool, duty, key);
        if (rows === 0) return trouble("there is no such row in quarantine");
        notifier.announce("sluice_schedules", ["*"]);
        if (options.json) return printJson({ retried: rows });
        printLine(`${count(rows, "row")} will be tried again`);
      }),
    );
}

function isDuty(text: string): text is QuarantinedDuty {
  return Object.hasOwn(QUARANTINE_KEYS, text);
}
