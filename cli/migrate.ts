import { Command } from "commander";
import { exitWith, settingsWithDatabaseOrExit } from "./settings.ts";

/** \`sluice migrate\` */
export function migrateCommand(): Command {
  return new Command("migrate")
    .description(
      "Bring the database to this version. Safe to run at any time and from several machines at once. Where its role may (CREATEROLE), it makes a role for each kind of process, and gives those their passwords (SLUICE_WEB_DB_PASSWORD and others). With SLUICE_ADMIN_PASSWORD set, the user admin has that password afterwards.",
    )
    .addHelpText("after", "\nExample:\n  $ DATABASE_URL=postgres://sluice@db/sluice sluice migrate")
    .action(async () => {
      const settings = settingsWithDatabaseOrExit();
      const [{ createPool }, { proveAddresses }, { install }, { ensureAdmin }] = await Promise.all([
        import("#lib/db/pool.ts"),
        import("#lib/db/session-address.ts"),
        import("#lib/engine/install.ts"),
        import("#lib/auth/ensure-admin.ts"),
      ]);
      const sessionUrl = settings.sessionUrl ?? settings.databaseUrl;
      const pool = createPool({ url: sessionUrl, max: 2, name: "migrate", ownNames: true });
      try {
        await proveAddresses(settings.databaseUrl, sessionUrl);
        const { rolePrefix: prefix, rolePasswords: passwords } = settings;
        const { applied, notes } = await install(sessionUrl, { prefix, passwords });
        for (const name of applied) process.stdout.write(`Applied ${name}\n`);
        if (applied.length === 0) process.stdout.write("The database is up to date\n");
        for (const note of notes) process.stdout.write(`${note}\n`);
        if (settings.adminPassword !== undefined) await ensureAdmin(pool, settings.adminPassword);
      } catch (error) {
        exitWith([
          `The database could not be migrated: ${error instanceof Error ? error.message || String(error) : String(error)}`,
        ]);
      } finally {
        await pool.end();
      }
    });
}
