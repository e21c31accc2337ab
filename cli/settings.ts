import { processSettings, type Settings } from "#lib/env.ts";

export type WithDatabase = Settings & { databaseUrl: string };

/** The settings of this process; every problem on a line of its own ends it. */
export function settingsOrExit(): Settings {
  const result = processSettings();
  return result.ok ? result.settings : exitWith(result.problems);
}

/** Settings for a process that works on a database somebody else runs. */
export function settingsWithDatabaseOrExit(): WithDatabase {
  const settings = settingsOrExit();
  if (settings.databaseUrl !== undefined) return { ...settings, databaseUrl: settings.databaseUrl };
  return exitWith([
    "DATABASE_URL is not set; allowed: a postgres:// or postgresql:// address (only `sluice start` brings a database of its own)",
  ]);
}

/** Ends this process with one line per problem. */
export function exitWith(problems: readonly string[]): never {
  for (const problem of problems) process.stderr.write(`sluice: ${problem}\n`);
  process.exit(1);
}
