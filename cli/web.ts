import { access } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import path from "node:path";
import { Command } from "commander";
import { exportNextAuthUrl } from "#lib/env.ts";
import { WEB_BUILD } from "#worker/standalone/paths.ts";
import { exitWith, settingsWithDatabaseOrExit, type WithDatabase } from "./settings.ts";
import { requestGuard } from "./request-guard.ts";
import { superviseWebServer } from "./web-server.ts";

/** \`sluice web\` */
export function webCommand(): Command {
  return new Command("web")
    .description("Run the web UI and the REST API. Several may run at once behind one address (SLUICE_URL).")
    .addHelpText(
      "after",
      "\nExample:\n  $ DATABASE_URL=postgres://sluice@db/sluice SLUICE_SESSION_SECRET=... SLUICE_API_TOKEN=... sluice web",
    )
    .action(async () => {
      const settings = settingsWithDatabaseOrExit();
      const missing = [
        settings.sessionSecret === undefined
          ? "SLUICE_SESSION_SECRET is not set; allowed: at least 32 characters, the same for every web process"
          : undefined,
        settings.apiToken === undefined
          ? "SLUICE_API_TOKEN is not set; allowed: at least 16 printable characters without spaces"
          : undefined,
      ].filter((problem) => problem !== undefined);
      if (missing.length > 0) exitWith(missing);
      await proveOrExit(settings);
      const server = path.join(WEB_BUILD, "server.js");
      await access(server).catch(() =>
        exitWith([`The web UI is not built (${server}): run \`sluice start\` once, or npm run build`]),
      );
      exportNextAuthUrl(settings);
      superviseWebServer(requestGuard(settings));
      await import(pathToFileURL(server).href);
    });
}

/** Ends the process when its addresses lead to two databases. A database that is away is waited for by its requests. */
async function proveOrExit({ databaseUrl, sessionUrl = databaseUrl }: WithDatabase): Promise<void> {
  const { proveAddresses, SessionAddressError } = await import("#lib/db/session-address.ts");
  await proveAddresses(databaseUrl, sessionUrl).catch((error: unknown) => {
    if (error instanceof SessionAddressError) exitWith([error.message]);
  });
}
