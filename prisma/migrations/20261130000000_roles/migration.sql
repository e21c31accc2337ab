-- What only the owner of the tables may do, each as one function that does exactly that: other roles call it.

-- As before, and whoever may number runs of one class may number those of each.
create or replace function sluice.open_generation(of_days int) returns int language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
declare
  size bigint;
  fresh int;
  begins bigint;
  numbers text := 'run_id_' || of_days;
  t record;
begin
  perform pg_advisory_xact_lock(hashtext('sluice.generation'));
  select generation_runs into size from sluice.retention;
  select coalesce(max(number), 0) + 1, coalesce((max(end_run) + size - 1) / size * size, 1) into fresh, begins
    from sluice.generation;
  update sluice.generation set closed_at = sluice.clock(), overtaken = false where keep_days = of_days and closed_at is null;
  insert into sluice.generation (number, keep_days, first_run, end_run)
  values (fresh, of_days, begins, (begins / size + 1) * size);
  for t in select name, name || '_g' || fresh as part, case when by_task then 20 else 0 end as shift
             from sluice.history_tables() loop
    -- What is written is hardly changed: the first vacuum freezes it, and none before its drop reads it again. At thousands of
    -- transactions a second every table is vacuumed against wraparound about once a day.
    execute format('create table sluice.%I (like sluice.%I including all excluding identity) with (autovacuum_freeze_min_age = 0)',
                   t.part, t.name);
    execute format('alter table sluice.%I attach partition sluice.%I for values from (%s) to (%s)', t.name, t.part,
                   begins << t.shift, ((begins / size + 1) * size) << t.shift);
  end loop;
  if to_regclass('sluice.' || numbers) is null then
    execute format('create sequence sluice.%I start with %s', numbers, begins);
    for t in select a.grantee::regrole as role, string_agg(a.privilege_type, ', ') as words
               from pg_class c cross join aclexplode(c.relacl) a
              where c.oid = to_regclass('sluice.run_id_30') and a.grantee not in (0, c.relowner) group by 1 loop
      execute format('grant %s on sequence sluice.%I to %s', t.words, numbers, t.role);
    end loop;
  end if;
  return fresh;
end $$;

-- Does the next step to drop a partition of history, of a generation that is marked and has no run: finishes what an earlier
-- detach has left half-done, detaches it, or drops it. Returns what it is then: attached, detached or gone. Waits a moment at most for
-- a lock, because who comes after it waits as long, and fails at that.
create function sluice.drop_partition(of_table text, of_generation int) returns text language plpgsql
security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
  parent regclass;
  part regclass := to_regclass(format('sluice.%I', of_table || '_g' || of_generation));
  pending regclass;
begin
  select to_regclass(format('sluice.%I', h.name)) into strict parent from sluice.history_tables() h where h.name = of_table;
  if not exists (select from sluice.generation g
                  where g.number = of_generation and g.dropping_at is not null
                    and not exists (select from sluice.dag_run r where r.id >= g.first_run and r.id < g.end_run)) then
    raise exception 'generation % is not to be dropped', of_generation using errcode = 'object_in_use';
  end if;
  select i.inhrelid into pending from pg_inherits i where i.inhparent = parent and i.inhdetachpending;
  if pending is not null then
    execute format('alter table %s detach partition %s finalize', parent, pending);
    return case when pending = part then 'detached' else 'attached' end;
  elsif part is null then
    return 'gone';
  elsif exists (select from pg_inherits i where i.inhrelid = part and i.inhparent = parent) then
    execute format('alter table %s detach partition %s', parent, part);
    return 'detached';
  end if;
  execute format('drop table %s', part);
  return 'gone';
end $$;
