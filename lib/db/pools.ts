import type { Db } from "./pool.ts";

export type Pool = {
  name: string;
  slots: number;
  description: string | null;
  /** Slots of live attempts. */
  taken: number;
};

/** Every pool with what is taken of it right now. */
export async function listPools(db: Db): Promise<Pool[]> {
  const { rows } = await db.query<Pool>(
    `select p.name, p.slots, p.description, coalesce(sum(w.slots) filter (where a.task_instance_id is not null), 0)::int as taken
       from sluice.pool p
       left join sluice.workload w on w.pool = p.name
       left join sluice.live_attempt a on a.workload_id = w.id
      group by p.name order by p.name`,
  );
  return rows;
}

/** Makes the pool or gives it another size; what runs is left alone. */
export async function upsertPool(db: Db, name: string, slots: number, description: string | undefined): Promise<void> {
  await db.query(
    `insert into sluice.pool (name, slots, description) values ($1, $2, $3)
     on conflict (name) do update set slots = excluded.slots,
       description = coalesce(excluded.description, pool.description)`,
    [name, slots, description ?? null],
  );
}

/** False when there is no such pool. */
export async function deletePool(db: Db, name: string): Promise<boolean> {
  const { rowCount } = await db.query("delete from sluice.pool where name = $1", [name]);
  return rowCount === 1;
}
