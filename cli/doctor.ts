import { Command } from "commander";
import { withEngine } from "./engine.ts";
import { EXIT, usageIsTrouble } from "./exit.ts";
import { printJson, printLine } from "./print.ts";

/** `sluice doctor` */
export function doctorCommand(): Command {
  return usageIsTrouble(new Command("doctor"))
    .description("Check what must always hold, on the live database: runs that go on or ended in the last day.")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExit code: 0 everything holds, 1 something does not, 2 there is no answer.")
    .action((options: { json?: true }) =>
      withEngine("doctor", async ({ pool }) => {
        const [{ checkInvariants }, { inTx }] = await Promise.all([
          import("#lib/db/invariants.ts"),
          import("#lib/db/tx.ts"),
        ]);
        const findings = await inTx(pool, checkInvariants);
        const broken = findings.filter((finding) => finding.broken.length > 0);
        if (broken.length > 0) process.exitCode = EXIT.no;
        if (options.json) return printJson({ healthy: broken.length === 0, checks: findings });
        for (const { id, says, broken: rows } of findings) {
          printLine(`${rows.length === 0 ? "✓" : "✗"} ${id.padEnd(18)} ${says}`);
          for (const row of rows) printLine(`    ${JSON.stringify(row)}`);
        }
      }),
    );
}
