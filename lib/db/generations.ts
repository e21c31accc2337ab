import type { Db, Tx } from "./pool.ts";

/** A range of run ids; the history of its runs is dropped as a whole. */
export type Generation = {
  number: number;
  keepDays: number;
  firstRun: string;
  endRun: string;
  openedAt: Date;
  closedAt: Date | null;
  droppingAt: Date | null;
};

const SELECT_GENERATIONS = `
  select number, keep_days as "keepDays", first_run as "firstRun", end_run as "endRun", opened_at as "openedAt",
         closed_at as "closedAt", dropping_at as "droppingAt"
    from sluice.generation`;

export async function listGenerations(db: Db): Promise<Generation[]> {
  const { rows } = await db.query<Generation>(`${SELECT_GENERATIONS} order by number`);
  return rows;
}

/**
 * Classes whose open generation is to be followed by another: it has runs, and is older than a quarter of its time (a day at
 * least) or more than half full; or a DAG came from a class whose ids are larger.
 */
export async function classesToRotate(db: Db): Promise<number[]> {
  const { rows } = await db.query<{ keepDays: number }>({
    name: "classes-to-rotate",
    text: `
      select g.keep_days as "keepDays"
        from sluice.generation g
        join pg_sequences q on q.schemaname = 'sluice' and q.sequencename = 'run_id_' || g.keep_days
       where g.closed_at is null
         and (g.overtaken
              or q.last_value >= g.first_run
                 and (g.opened_at < (select sluice.clock()) - greatest(1, g.keep_days / 4.0) * interval '1 day'
                      or q.last_value - g.first_run > (g.end_run - g.first_run) / 2))
       order by 1`,
  });
  return rows.map((row) => row.keepDays);
}

/** Opens another generation of the class. Its runs go there once `enterGenerations` sees it committed. */
export async function openGeneration(db: Db, keepDays: number): Promise<number> {
  const { rows } = await db.query<{ number: number }>("select sluice.open_generation($1) as number", [keepDays]);
  return rows[0]!.number;
}

export async function enterGenerations(db: Db): Promise<void> {
  await db.query("select sluice.enter_generations()");
}

/**
 * Marks closed generations in which no run is left: their history can be dropped. Nothing is inserted into a closed generation, so
 * none comes back. Returns how many.
 */
export async function markEmpty(db: Db): Promise<number> {
  const { rowCount } = await db.query(`
    update sluice.generation g set dropping_at = sluice.clock()
     where g.dropping_at is null and g.closed_at < sluice.clock() - g.keep_days * interval '1 day'
       and not exists (select from sluice.dag_run r where r.id >= g.first_run and r.id < g.end_run)`);
  return rowCount ?? 0;
}

/** Runs because of which the history of a generation is kept, although its time is over: the first ones, and whether there are more. */
export type Kept = { number: number; runs: string[]; more: boolean };

const NAMED_RUNS = 5;

/** Closed generations that are past their time and still have runs. */
export async function keptGenerations(db: Db): Promise<Kept[]> {
  const { rows } = await db.query<{ number: number; runs: string[] }>(
    `select g.number, r.runs
       from sluice.generation g
      cross join lateral (select array_agg(id::text) as runs
                            from (select id from sluice.dag_run where id >= g.first_run and id < g.end_run
                                   order by id limit $1) r) r
      where g.closed_at < sluice.clock() - g.keep_days * interval '1 day' and r.runs is not null
      order by g.number`,
    [NAMED_RUNS + 1],
  );
  return rows.map(({ number, runs }) => ({
    number,
    runs: runs.slice(0, NAMED_RUNS),
    more: runs.length > NAMED_RUNS,
  }));
}

/** The days that runs are kept whose DAG says nothing. */
export async function defaultKeepDays(db: Db): Promise<number> {
  const { rows } = await db.query<{ keepDays: number }>('select keep_days as "keepDays" from sluice.retention');
  return rows[0]!.keepDays;
}

/** Keeps later runs of such DAGs for so many days; there are partitions for them then. */
export async function setDefaultKeepDays(tx: Tx, keepDays: number): Promise<void> {
  await tx.query("select sluice.ensure_class($1, null)", [keepDays]);
  // The DAGs that change their class with it.
  await tx.query(
    `update sluice.generation g set overtaken = true
      where g.keep_days = $1 and g.closed_at is null
        and g.end_run <= (select max(o.first_run) from sluice.generation o, sluice.retention r
                           where o.keep_days = r.keep_days and o.closed_at is null)`,
    [keepDays],
  );
  await tx.query("update sluice.retention set keep_days = $1", [keepDays]);
}
