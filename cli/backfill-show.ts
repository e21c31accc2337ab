import { Command } from "commander";
import type { Backfill, BackfillEvent, BackfillSlice } from "#lib/db/backfill-reads.ts";
import { isFinalBackfillState } from "#lib/domain/states.ts";
import { backfillOrExit, countsText, followBackfill, progressText } from "./backfill-progress.ts";
import { timeText } from "./cron-schedules.ts";
import { withEngine } from "./engine.ts";
import { usageIsTrouble } from "./exit.ts";
import { printJson, printLine, table } from "./print.ts";

/** `sluice backfill list` */
export function listCommand(): Command {
  return usageIsTrouble(new Command("list"))
    .description("Backfills, the newest first.")
    .option("--dag <id>", "only of this DAG")
    .option("--limit <count>", "at most so many (default 20)")
    .option("--json", "print JSON")
    .action((options: { dag?: string; limit?: string; json?: true }) =>
      withEngine("backfill-list", async ({ pool }) => {
        const { listBackfills } = await import("#lib/db/backfill-reads.ts");
        const limit = Math.min(Math.max(Number(options.limit ?? 20) || 20, 1), 1_000);
        const backfills = await listBackfills(pool, { dagId: options.dag, limit });
        if (options.json) return printJson({ backfills });
        const rows = backfills.map((one) => [
          one.id,
          one.dagId,
          one.state,
          `${timeText(new Date(one.start))} to ${timeText(new Date(one.end))}`,
          countsText(one),
          one.actor,
        ]);
        for (const line of table(["backfill", "dag", "state", "logical dates (UTC)", "dates", "by"], rows))
          printLine(line);
      }),
    );
}

/** `sluice backfill show` */
export function showCommand(parseId: (text: string) => string): Command {
  return usageIsTrouble(new Command("show"))
    .description("A backfill: how far it is, what did not end well, and who did what to it.")
    .argument("<backfill>", "the backfill's number", parseId)
    .option("--watch", "show its progress until it ends; 0 when it succeeded, else 1. Ctrl-C leaves it going")
    .option("--json", "print JSON, with every date and its latest run")
    .action((id: string, options: { watch?: true; json?: true }) =>
      withEngine("backfill-show", async (deps) => {
        if (options.watch) return followBackfill(deps, id, { wait: true, json: options.json ?? false });
        const backfill = await backfillOrExit(deps, id);
        const { listBackfillEvents, listSlices } = await import("#lib/db/backfill-reads.ts");
        const [slices, events] = await Promise.all([listSlices(deps.pool, id), listBackfillEvents(deps.pool, id)]);
        if (options.json) return printJson({ backfill, dates: slices, events });
        for (const line of shownLines(backfill, slices, events)) printLine(line);
      }),
    );
}

/** So many dates are listed by themselves. */
const MAX_LISTED = 20;

function shownLines(backfill: Backfill, slices: readonly BackfillSlice[], events: readonly BackfillEvent[]): string[] {
  const { id, dagId, state, start, end, schedule, order, maxActive, priority, reprocess, note } = backfill;
  const which = schedule === null ? "" : `, schedule ${schedule}`;
  const lines = [
    `backfill ${id} of ${dagId}: ${state}`,
    `logical dates from ${timeText(new Date(start))} to ${timeText(new Date(end))} UTC${which}; ${maxActive} at once, ${order}, priority ${priority}, reprocess ${reprocess}`,
    progressText(backfill),
  ];
  if (note !== null) lines.push(`note: ${note}`);
  const telling = slices.filter((slice) => slice.state !== "queued" && slice.state !== "success");
  if (telling.length > 0) lines.push("", ...sliceLines(telling));
  if (telling.length > MAX_LISTED) lines.push(`… ${telling.length - MAX_LISTED} more (--json lists all)`);
  lines.push("", ...eventLines(events));
  const isUnlucky = isFinalBackfillState(state) && state !== "success";
  if (isUnlucky) lines.push("", `\`sluice backfill retry ${id}\` runs again what did not end well`);
  return lines;
}

function sliceLines(slices: readonly BackfillSlice[]): string[] {
  const rows = slices
    .slice(0, MAX_LISTED)
    .map(({ logicalDate, runId, state }) => [timeText(new Date(logicalDate)), runId, state]);
  return table(["logical date (UTC)", "run", "state"], rows);
}

function eventLines(events: readonly BackfillEvent[]): string[] {
  const rows = events.map(({ at, to, reason, actor }) => [timeText(new Date(at)), to, actor, reason ?? ""]);
  return table(["at (UTC)", "became", "by", "because"], rows);
}
