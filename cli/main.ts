#!/usr/bin/env node
import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { z } from "zod";
import { environmentHelp } from "./environment-help.ts";

const EXAMPLES = `
Examples:
  $ sluice start                              everything on this machine, with a Postgres of its own
  $ PORT=9000 sluice start                    the same on another port
  $ sluice migrate                            bring the database in DATABASE_URL to this version
  $ sluice worker --queue gpu --concurrency 4 one more worker, for the queue gpu
`;

/** Only what is asked for is loaded: a worker and a scheduler keep what they have loaded for as long as they live. */
const COMMANDS: Record<string, () => Promise<Command>> = {
  start: async () => (await import("./start.ts")).startCommand(),
  web: async () => (await import("./web.ts")).webCommand(),
  scheduler: async () => (await import("./scheduler.ts")).schedulerCommand(),
  worker: async () => (await import("./worker.ts")).workerCommand(),
  migrate: async () => (await import("./migrate.ts")).migrateCommand(),
  dags: async () => (await import("./dags.ts")).dagsCommand(),
  runs: async () => (await import("./runs.ts")).runsCommand(),
  backfill: async () => (await import("./backfill.ts")).backfillCommand(),
  tasks: async () => (await import("./tasks.ts")).tasksCommand(),
  workers: async () => (await import("./workers.ts")).workersCommand(),
  pools: async () => (await import("./pools.ts")).poolsCommand(),
  limits: async () => (await import("./limits.ts")).limitsCommand(),
  cron: async () => (await import("./cron.ts")).cronCommand(),
  schedules: async () => (await import("./schedules.ts")).schedulesCommand(),
  "dead-letters": async () => (await import("./dead-letters.ts")).deadLettersCommand(),
  db: async () => (await import("./db.ts")).dbCommand(),
  doctor: async () => (await import("./doctor.ts")).doctorCommand(),
  quarantine: async () => (await import("./quarantine.ts")).quarantineCommand(),
};

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
  for (const load of asked(argv[2])) program.addCommand(await load());
  await program.parseAsync(argv);
}

/** The command of that name; all of them where it is none, for the help and for the mistake. */
function asked(name = ""): (() => Promise<Command>)[] {
  return Object.hasOwn(COMMANDS, name) ? [COMMANDS[name]!] : Object.values(COMMANDS);
}

function isMain(): boolean {
  const script = process.argv[1];
  return script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url);
}

if (isMain()) await main(process.argv);
