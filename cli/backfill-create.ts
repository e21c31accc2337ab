import { Command, InvalidArgumentError, Option } from "commander";
import { countPlan, type Order, ORDERS, type Reprocess, REPROCESSES, toMake } from "#lib/domain/backfill/plan.ts";
import { PRIORITIES, type Priority } from "#lib/domain/model/task.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { CreateBackfill } from "#lib/engine/backfill/create.ts";
import { leftOutLines, planLine, previewJson, previewLines } from "./backfill-preview.ts";
import { followBackfill } from "./backfill-progress.ts";
import { withEngine } from "./engine.ts";
import { usageIsTrouble } from "./exit.ts";
import { printJson, printLine } from "./print.ts";
import { parseConf } from "./run-arguments.ts";

type Options = {
  dag: string;
  start: string;
  end: string;
  maxActive: number;
  reprocess: Reprocess;
  order: Order;
  priority: Priority;
  schedule?: number;
  conf: Record<string, unknown>;
  note?: string;
  key?: string;
  dryRun?: true;
  wait: boolean;
  json?: true;
};

/** `sluice backfill create` */
export function createCommand(): Command {
  return usageIsTrouble(new Command("create"))
    .description("Queue a run for each date of a DAG's schedule in a range, and show how they get on.")
    .requiredOption("--dag <id>", "the DAG; it may be paused")
    .requiredOption("--start <date>", "the first logical date, like 2026-01-01 or 2026-01-01T06:00Z")
    .requiredOption("--end <date>", "the last one; a date is the whole day, in the DAG's time zone")
    .option("--max-active <count>", "so many of its runs go on at once, apart from the DAG's own limit", parseCount, 4)
    .addOption(
      new Option("--reprocess <which>", "dates without a run; those that failed or were cancelled, too; or all")
        .choices(REPROCESSES)
        .default("missing"),
    )
    .addOption(new Option("--order <order>", "by logical date, which runs start first").choices(ORDERS).default("asc"))
    .addOption(new Option("--priority <priority>", "of all its tasks").choices(PRIORITIES).default("low"))
    .option("--schedule <number>", "only of this one of the DAG's schedules, from 1", parseCount)
    .option("--conf <json>", "the params of its runs", parseConf, {})
    .option("--note <text>", "why")
    .option("--key <text>", "the same key gives the same backfill, however often it is sent")
    .option("--dry-run", "say what would be done, and how long it may take, and do nothing")
    .option("--no-wait", "do not wait for its end")
    .option("--json", "print JSON; progress goes to stderr")
    .addHelpText(
      "after",
      `
Until the end a progress bar is shown, or now and then a line where there is no terminal. Ctrl-C leaves the backfill going.

Exit code: 0 all of it succeeded, or there was nothing to do; 1 refused, or not all succeeded; 2 wrong usage or no such DAG;
130 Ctrl-C.`,
    )
    .action((options: Options) => withEngine("backfill-create", (deps, actor) => create(deps, actor, options)));
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a number from 1 to 999999.");
}

async function create(deps: EngineDeps, actor: string, options: Options): Promise<void> {
  const { dag: dagId, key: idempotencyKey, dryRun, wait, json, ...rest } = options;
  const request: CreateBackfill = { ...rest, dagId, idempotencyKey, actor };
  if (dryRun) return preview(deps, request, json);
  const { createBackfill } = await import("#lib/engine/backfill/create.ts");
  const created = await createBackfill(deps, request);
  if (created.kind === "nothing") {
    const { plan } = created.prepared;
    if (json) return printJson({ backfill: null, counts: countPlan(plan) });
    printLine(`nothing to do: ${planLine(plan)}`);
    for (const line of leftOutLines(created.prepared)) printLine(line);
    return;
  }
  const { backfillId } = created;
  const say = json ? (line: string): void => void process.stderr.write(`${line}\n`) : printLine;
  if (created.kind === "known") say(`backfill ${backfillId} was made with this key before`);
  else {
    say(`backfill ${backfillId} of ${dagId}: ${planLine(created.prepared.plan)}`);
    for (const line of leftOutLines(created.prepared)) say(line);
  }
  return followBackfill(deps, backfillId, { wait, json: json ?? false });
}

async function preview(deps: EngineDeps, request: CreateBackfill, json: true | undefined): Promise<void> {
  const { previewBackfill } = await import("#lib/engine/backfill/prepare.ts");
  const { estimateOf } = await import("#lib/domain/backfill/estimate.ts");
  const found = await previewBackfill(deps.pool, request);
  const estimate = estimateOf(toMake(found.plan).length, request.maxActive, found.history);
  if (json) return printJson(previewJson(found, estimate));
  for (const line of previewLines(found, estimate, request)) printLine(line);
}
