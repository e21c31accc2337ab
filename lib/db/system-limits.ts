import type { Db } from "./pool.ts";

export const SYSTEM_LIMITS = ["max_active_tasks"] as const;
export type SystemLimit = (typeof SYSTEM_LIMITS)[number];

/** Limits of the whole system; one that is not there is none. */
export async function systemLimits(db: Db): Promise<{ [L in SystemLimit]?: number }> {
  const { rows } = await db.query<{ name: SystemLimit; value: number }>("select name, value from sluice.system_limit");
  return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
}

/** Null takes the limit away. What runs is left alone. */
export async function setSystemLimit(db: Db, name: SystemLimit, value: number | null): Promise<void> {
  if (value === null) {
    await db.query("delete from sluice.system_limit where name = $1", [name]);
    return;
  }
  await db.query(
    "insert into sluice.system_limit (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value",
    [name, value],
  );
}
