import { Command } from "commander";
import type { DatabaseAge } from "#lib/domain/database-age.ts";
import type { SeenScheduler } from "#lib/db/schedulers.ts";
import { withEngine } from "./engine.ts";
import { EXIT, usageIsTrouble } from "./exit.ts";
import { printJson, printLine, span } from "./print.ts";

/** `sluice doctor` */
export function doctorCommand(): Command {
  return usageIsTrouble(new Command("doctor"))
    .description(
      "Check what must always hold, on the live database: runs that go on or ended in the last day, and that schedulers do their duties.",
    )
    .option("--json", "print JSON")
    .addHelpText("after", "\nExit code: 0 everything holds, 1 something does not, 2 there is no answer.")
    .action((options: { json?: true }) =>
      withEngine("doctor", async ({ pool }) => {
        const [
          { checkInvariants },
          { inTx },
          { listQuarantine },
          { listSchedulers },
          { readDatabaseAge },
          { ageFindings },
          { lackingSettings },
          { listWorkers },
        ] = await Promise.all([
          import("#lib/db/invariants.ts"),
          import("#lib/db/tx.ts"),
          import("#lib/db/quarantine.ts"),
          import("#lib/db/schedulers.ts"),
          import("#lib/db/database-age.ts"),
          import("#lib/domain/database-age.ts"),
          import("#lib/db/session-settings.ts"),
          import("#lib/db/worker-reads.ts"),
        ]);
        const findings = await inTx(pool, checkInvariants);
        const [schedulers, quarantine] = await Promise.all([listSchedulers(pool), listQuarantine(pool)]);
        const duties = await dutyChecks(schedulers);
        const database = await readDatabaseAge(pool);
        const workers = await listWorkers(pool);
        const lacking = await lackingSettings(pool);
        const checks = [
          ...findings,
          ...duties,
          {
            id: "database-age",
            says: "transaction ids, multixacts and the oldest snapshot are young enough",
            broken: ageFindings(database),
          },
          {
            id: "session-settings",
            says: "new sessions of this role have the settings that Sluice needs (`sluice migrate` gives them to it)",
            broken: lacking,
          },
          {
            id: "workers-able",
            says: "every worker that is there can start tasks",
            broken: workers
              .filter(({ state }) => state === "trouble")
              .map(({ id, trouble, troubleSince }) => ({ worker: id, trouble, since: troubleSince })),
          },
          { id: "quarantine", says: "no row breaks a duty of the schedulers", broken: quarantine },
        ];
        const broken = checks.filter((check) => check.broken.length > 0);
        if (broken.length > 0) process.exitCode = EXIT.no;
        if (options.json) return printJson({ healthy: broken.length === 0, checks, schedulers, database });
        for (const { id, says, broken: rows } of checks) {
          printLine(`${rows.length === 0 ? "✓" : "✗"} ${id.padEnd(18)} ${says}`);
          for (const row of rows) printLine(`    ${JSON.stringify(row)}`);
        }
        printLine(`  ${ageLine(database)}`);
      }),
    );
}

/** What the ages are, also when they are fine. */
function ageLine({ xidAge, mxidAge, oldestSnapshot }: DatabaseAge): string {
  const ages = `transaction ids ${xidAge.toLocaleString("en")}, multixacts ${mxidAge.toLocaleString("en")} since frozen`;
  if (oldestSnapshot === null) return `${ages}; no snapshot is open`;
  const { kind, pid, application, xids, seconds } = oldestSnapshot;
  const age = seconds === null ? "" : `, ${span(seconds * 1_000)}`;
  return `${ages}; oldest snapshot: ${kind} ${application}${pid === null ? "" : ` (pid ${pid})`}, ${xids} transactions${age}`;
}

type Check = { id: string; says: string; broken: readonly unknown[] };

/** That somebody is there to start runs, and that those who are there do what they must. */
async function dutyChecks(schedulers: readonly SeenScheduler[]): Promise<Check[]> {
  const { SCHEDULER_GONE_MS } = await import("#lib/db/schedulers.ts");
  const alive = schedulers.filter(({ seenMsAgo }) => seenMsAgo <= SCHEDULER_GONE_MS);
  const last = schedulers[0];
  const none = last === undefined ? "none was seen within a day" : `the last one was seen ${span(last.seenMsAgo)} ago`;
  const late = alive.flatMap(({ host, pid, duties }) =>
    duties
      .filter(({ ok }) => !ok)
      .map(({ name, ageMs, error }) => ({ scheduler: `${host}:${pid}`, duty: name, notDoneFor: span(ageMs), error })),
  );
  return [
    { id: "scheduler-alive", says: "a scheduler is there to start runs", broken: alive.length > 0 ? [] : [{ none }] },
    { id: "duties-in-time", says: "every duty of the schedulers is done in time", broken: late },
  ];
}
