import type { Db } from "./pool.ts";

/**
 * Which of these pg-boss queues have a job to fetch now. pg-boss asks each queue by a statement of its own; an idle worker
 * asks for all of its lanes every second, and this is one statement for all of them.
 */
export async function ringingBells(db: Db, queues: readonly string[]): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>({
    name: "ringing-bells",
    text: `
      select q.name from unnest($1::text[]) q(name)
       where exists (select from sluice_boss.job j
                      where j.name = q.name and j.state < 'active' and not j.blocked and j.start_after <= now())`,
    values: [queues],
  });
  return rows.map(({ name }) => name);
}
