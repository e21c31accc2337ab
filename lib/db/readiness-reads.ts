import { z } from "zod";
import type { Db } from "./pool.ts";

const Ledger = z.object({ applied: z.number().int(), open: z.number().int(), latest: z.string().nullable() });
export type MigrationState = z.infer<typeof Ledger>;

/** What the migrations' ledger says. Throws when the database does not answer or holds no ledger. */
export async function readMigrationState(db: Db): Promise<MigrationState> {
  const { rows } = await db.query(
    `select count(*) filter (where finished_at is not null)::int as applied,
            count(*) filter (where finished_at is null)::int as open,
            max(migration_name) filter (where finished_at is not null) as latest
     from sluice._prisma_migrations where rolled_back_at is null`,
  );
  return Ledger.parse(rows[0]);
}
