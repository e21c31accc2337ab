import { Command } from "commander";
import { exitWith, settingsWithDatabaseOrExit } from "./settings.ts";

/** \`sluice migrate\` */
export function migrateCommand(): Command {
  return new Command("migrate")
    .description(
      "Bring the database to this version. Safe to run at any time and from several machines at once. With SLUICE_ADMIN_PASSWORD set, the user admin has that password afterwards.",
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
      const pool = createPool({ url: sessionUrl, max: 2, name: "migrate" });
      try {
        await proveAddresses(settings.databaseUrl, sessionUrl);
        const applied = await install(pool);
        for (const name of applied) process.stdout.write(`Applied ${name}\n`);
        if (applied.length === 0) process.stdout.write("The database is up to date\n");
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
