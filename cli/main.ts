#!/usr/bin/env node
import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { z } from "zod";
import { backfillCommand } from "./backfill.ts";
import { cronCommand } from "./cron.ts";
import { dagsCommand } from "./dags.ts";
import { environmentHelp } from "./environment-help.ts";
import { dbCommand } from "./db.ts";
import { migrateCommand } from "./migrate.ts";
import { deadLettersCommand } from "./dead-letters.ts";
import { doctorCommand } from "./doctor.ts";
import { limitsCommand } from "./limits.ts";
import { poolsCommand } from "./pools.ts";
import { quarantineCommand } from "./quarantine.ts";
import { runsCommand } from "./runs.ts";
import { schedulesCommand } from "./schedules.ts";
import { schedulerCommand } from "./scheduler.ts";
import { startCommand } from "./start.ts";
import { tasksCommand } from "./tasks.ts";
import { webCommand } from "./web.ts";
import { workerCommand } from "./worker.ts";

const EXAMPLES = `
Examples:
  $ sluice start                              everything on this machine, with a Postgres of its own
  $ PORT=9000 sluice start                    the same on another port
  $ sluice migrate                            bring the database in DATABASE_URL to this version
  $ sluice worker --queue gpu --concurrency 4 one more worker, for the queue gpu
`;

const COMMANDS = [
  startCommand,
  webCommand,
  schedulerCommand,
  workerCommand,
  migrateCommand,
  dagsCommand,
  runsCommand,
  backfillCommand,
  tasksCommand,
  poolsCommand,
  limitsCommand,
  cronCommand,
  schedulesCommand,
  deadLettersCommand,
  dbCommand,
  doctorCommand,
  quarantineCommand,
];

/** The \`sluice\` command. */
export async function main(argv: readonly string[]): Promise<void> {
  const manifest = await readFile(path.join(import.meta.dirname, "..", "package.json"), "utf8");
  const { version } = z.object({ version: z.string() }).parse(JSON.parse(manifest));
  const program = new Command("sluice")
    .description("A workflow orchestrator on nothing but Postgres.")
    .version(version)
    // After a command's name, --version is that command's: `sluice dags show etl --version 3`.
    .enablePositionalOptions()
    .addHelpText("after", `${EXAMPLES}\n${environmentHelp()}`);
  for (const command of COMMANDS) program.addCommand(command());
  await program.parseAsync(argv);
}

function isMain(): boolean {
  const script = process.argv[1];
  return script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url);
}

if (isMain()) await main(process.argv);
