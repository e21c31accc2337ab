create schema if not exists sluice;

-- The one source of time. Tests move it per session with `set sluice.clock_offset = '10 s'`; nothing else may.
-- Compare as `(select sluice.clock())`, so that it is evaluated once, before the rows are read, and an index can be used.
create function sluice.clock() returns timestamptz language sql volatile parallel safe as $$
  select clock_timestamp() + coalesce(nullif(current_setting('sluice.clock_offset', true), '')::interval, interval '0')
$$;

create function sluice.today() returns date language sql volatile parallel safe as $$
  select (sluice.clock() at time zone 'UTC')::date
$$;

-- Since when a limit is what it is: now, and not before what was admitted under the one before it, whatever the clock has done
-- since. A limit that was made lower takes nothing back, so what was admitted under the one before may be too much; what was
-- admitted later may not (lib/db/limit-invariants.ts).
create function sluice.limits_since() returns timestamptz language plpgsql as $$
begin
  return greatest(sluice.clock(), (select max(a.queued_at) from sluice.live_attempt a));
end $$;

-- A trigger and not a column that statements set: one statement that forgets it would make lowered limits look broken.
create function sluice.renew_limits_since() returns trigger language plpgsql as $$
begin
  new.limits_since := sluice.limits_since();
  return new;
end $$;

-- The same of a lane: by the clock, and by the last place that had been given to an attempt, which no clock makes younger.
create function sluice.renew_changed_since() returns trigger language plpgsql as $$
begin
  new.changed_since := sluice.clock();
  new.changed_seq := coalesce(pg_sequence_last_value('sluice.live_attempt_seq_seq'), 0);
  return new;
end $$;

-- Since when something is paused. A trigger, because pauses are set in several ways, and no statement of them may forget it.
create function sluice.note_pause() returns trigger language plpgsql as $$
begin
  new.paused_at := case when new.paused_by is not null then coalesce(old.paused_at, sluice.clock()) end;
  return new;
end $$;

------------------------------------------------------------------------------------------------ definitions

create table sluice.dag (
  id text primary key check (id ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  name text,
  description text,
  owner text,
  tags text[] not null default '{}',
  -- Where it is defined, relative to the DAGs folder, and the hash that was last read there: after a rollback the
  -- file still says what was rolled back, and only a change of it makes a new version.
  file text not null,
  file_hash text not null,
  -- The file is gone: no new runs, but nothing is deleted.
  missing boolean not null default false,
  -- Who paused it, and when; nothing of it starts meanwhile.
  paused_by text,
  paused_at timestamptz,
  -- Of its current version: how much of it goes on at once; null is no limit.
  max_active_runs int not null check (max_active_runs > 0),
  max_active_tasks int check (max_active_tasks > 0),
  max_active_tasks_per_run int check (max_active_tasks_per_run > 0),
  -- How long its runs are kept, when that is its own; null is the default of all.
  keep_days int,
  current_version_id bigint not null,
  -- Since when its limits of tasks are what they are: see sluice.limits_since().
  limits_since timestamptz not null default sluice.limits_since(),
  -- The same of its limit of runs.
  runs_since timestamptz not null default sluice.clock(),
  created_at timestamptz not null default sluice.clock(),
  updated_at timestamptz not null default sluice.clock()
);

create table sluice.dag_version (
  id bigint generated always as identity primary key,
  dag_id text not null,
  number int not null,
  hash text not null,
  spec jsonb not null,
  bundle text,
  -- The params' schemas, apart from the spec, which may be large.
  params jsonb,
  -- Ends of a run that call somebody, and whether any task's end does: asked before looking at each.
  calls text[] not null default '{}',
  task_calls boolean not null default false,
  -- The text it was written as, who made it this DAG's version, and why when that was not the loader.
  source text,
  author text not null,
  note text,
  created_at timestamptz not null default sluice.clock(),
  unique (dag_id, number)
);

-- Which bundles are of use.
create index dag_version_bundle_idx on sluice.dag_version (bundle) where bundle is not null;

alter table sluice.dag_version add constraint dag_version_dag_id_fkey
  foreign key (dag_id) references sluice.dag (id) deferrable initially deferred;
alter table sluice.dag add constraint dag_current_version_id_fkey
  foreign key (current_version_id) references sluice.dag_version (id) deferrable initially deferred;
-- Asked for each version that is deleted.
create index dag_current_version_id_idx on sluice.dag (current_version_id);

-- Slots that tasks of all DAGs share.
create table sluice.pool (
  name text primary key check (name ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  slots int not null check (slots >= 0),
  limits_since timestamptz not null default sluice.limits_since(),
  description text,
  created_at timestamptz not null default sluice.clock()
);

-- Since when a pool that was deleted has no slots. What runs of it goes on to its end; nothing more of it is admitted.
create table sluice.deleted_pool (
  name text primary key,
  limits_since timestamptz not null default sluice.limits_since()
);
create function sluice.remember_pool() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    insert into sluice.deleted_pool (name) values (old.name)
    on conflict (name) do update set limits_since = excluded.limits_since;
  else
    delete from sluice.deleted_pool where name = new.name;
  end if;
  return null;
end $$;
create trigger remember_pool after insert or delete on sluice.pool for each row execute function sluice.remember_pool();

-- A queue label and a slot class: what a worker claims from. Made with the first task class of it, never deleted.
create table sluice.lane (
  id int generated always as identity primary key,
  queue text not null,
  slot_class text not null check (slot_class in ('process', 'function', 'inline')),
  -- As the last full pass of admission found them: slots of its live workers, and attempts that it has room for, which are the
  -- slots and the dispatch window. Lanes that share workers are a group (the smallest of their ids), which uses their slots once.
  slots int not null default 0,
  room int not null default 0,
  group_id int not null default 0,
  group_room int not null default 0,
  -- Slots of workers that serve no other lane: for this lane, whatever the rest of its group has taken.
  own_slots int not null default 0,
  -- Its clock: how its priorities share what it admits. See lib/domain/lane-clock.ts.
  time bigint not null default 0,
  high bigint not null default 0,
  medium bigint not null default 0,
  low bigint not null default 0,
  -- Since when its slots and rooms are what they are, and the `seq` of the last attempt before.
  changed_since timestamptz not null default sluice.clock(),
  changed_seq bigint not null default 0,
  unique (queue, slot_class)
) with (fillfactor = 50);
create trigger changed_since before update of slots, room, group_id, group_room, own_slots on sluice.lane for each row
  when ((old.slots, old.room, old.group_id, old.group_room, old.own_slots)
        is distinct from (new.slots, new.room, new.group_id, new.group_room, new.own_slots))
  execute function sluice.renew_changed_since();

-- Tasks between which admission sees no difference but their age: one row each for all versions of a DAG.
create table sluice.workload (
  id int generated always as identity primary key,
  dag_id text not null,
  -- The lane of `queue` and `slot_class`, which are kept beside it for those who read.
  lane_id int not null references sluice.lane (id),
  queue text not null,
  slot_class text not null check (slot_class in ('process', 'function', 'inline')),
  -- No foreign key: a task may name a pool that is made later, and waits for it.
  pool text,
  slots int not null check (slots > 0),
  priority text not null check (priority in ('high', 'medium', 'low')),
  -- What one task asks of its worker: thousandths of a processor and MiB; 0 asks for nothing.
  cpu int not null check (cpu >= 0),
  memory int not null check (memory >= 0),
  -- What its worker must offer, sorted: labels, and types that not every worker knows.
  needs text[] not null default '{}',
  -- When a full pass of admission last admitted a task of it: what fairness between classes of equal share is decided by.
  last_admitted_at timestamptz,
  unique nulls not distinct (dag_id, queue, slot_class, pool, slots, priority, cpu, memory, needs)
) with (fillfactor = 70);

-- Sets lane_id: whoever makes a task class names its queue and slot class only.
create function sluice.set_lane() returns trigger language plpgsql as $$
begin
  select id into new.lane_id from sluice.lane where (queue, slot_class) = (new.queue, new.slot_class);
  if not found then
    insert into sluice.lane (queue, slot_class) values (new.queue, new.slot_class) on conflict do nothing;
    select id into new.lane_id from sluice.lane where (queue, slot_class) = (new.queue, new.slot_class);
  end if;
  return new;
end $$;
create trigger workload_lane before insert on sluice.workload for each row execute function sluice.set_lane();

-- Limits of the whole system that people may change while it runs; one that is absent is none.
create table sluice.system_limit (
  name text primary key check (name in ('max_active_tasks')),
  value int not null check (value >= 0),
  limits_since timestamptz not null default sluice.limits_since()
);

create trigger limits_since before update on sluice.dag for each row
  when ((old.max_active_tasks, old.max_active_tasks_per_run) is distinct from (new.max_active_tasks, new.max_active_tasks_per_run))
  execute function sluice.renew_limits_since();
create function sluice.renew_runs_since() returns trigger language plpgsql as $$
begin
  new.runs_since := sluice.clock();
  return new;
end $$;
create trigger runs_since before update of max_active_runs on sluice.dag for each row
  when (old.max_active_runs <> new.max_active_runs) execute function sluice.renew_runs_since();
create trigger limits_since before update on sluice.pool for each row
  when (old.slots <> new.slots) execute function sluice.renew_limits_since();
create trigger limits_since before update on sluice.system_limit for each row
  when (old.value <> new.value) execute function sluice.renew_limits_since();

-- Asks the scheduler that leads admission for a pass when this commits: there may be room, or less. Triggers and not callers,
-- because limits are changed by publishing, rollbacks, commands and people with SQL.
create function sluice.ask_for_pass() returns trigger language plpgsql as $$
begin
  perform pg_notify('sluice_admission', 'pass');
  return null;
end $$;
create trigger ask_for_pass after update on sluice.dag for each row
  when ((old.max_active_tasks, old.max_active_tasks_per_run) is distinct from (new.max_active_tasks, new.max_active_tasks_per_run))
  execute function sluice.ask_for_pass();
create trigger ask_for_pass after insert or delete on sluice.pool for each row execute function sluice.ask_for_pass();
create trigger ask_for_pass_after_change after update on sluice.pool for each row
  when (old.slots <> new.slots) execute function sluice.ask_for_pass();
create trigger ask_for_pass after insert or delete on sluice.system_limit for each row execute function sluice.ask_for_pass();
create trigger ask_for_pass_after_change after update on sluice.system_limit for each row
  when (old.value <> new.value) execute function sluice.ask_for_pass();

-- Keys, as those of sluice.contention, of limits that were lowered since a full pass of admission last counted what is live. From the
-- commit of the change on no child continues in a slot that may be one too many.
create table sluice.lowered_limit (key text primary key);

-- The first argument names the column of the row's name, the others are the keys' beginnings. A key that is there is written anew: the
-- pass that deletes it has counted by the limit before.
create function sluice.note_lowered_limit() returns trigger language plpgsql as $$
begin
  insert into sluice.lowered_limit (key)
  select k || coalesce(to_jsonb(case tg_op when 'DELETE' then old else new end) ->> tg_argv[0], '') from unnest(tg_argv[1:]) k
  on conflict (key) do update set key = excluded.key;
  return null;
end $$;
create trigger note_lowered_limit after update on sluice.dag for each row
  when (new.max_active_tasks < coalesce(old.max_active_tasks, 2147483647)
        or new.max_active_tasks_per_run < coalesce(old.max_active_tasks_per_run, 2147483647))
  execute function sluice.note_lowered_limit('id', 'dag:', 'run:');
create trigger note_lowered_limit after delete on sluice.pool for each row
  execute function sluice.note_lowered_limit('name', 'pool:');
create trigger note_lowered_limit_after_change after update on sluice.pool for each row
  when (new.slots < old.slots) execute function sluice.note_lowered_limit('name', 'pool:');
create trigger note_lowered_limit after insert on sluice.system_limit for each row
  execute function sluice.note_lowered_limit('', 'system');
create trigger note_lowered_limit_after_change after update on sluice.system_limit for each row
  when (new.value < old.value) execute function sluice.note_lowered_limit('', 'system');

-- Why ready tasks of a workload are not admitted; written by full passes of admission, when it changes.
create table sluice.workload_wait (
  workload_id int primary key,
  code text not null,
  detail jsonb not null,
  -- What it waits for, as keys of sluice.contention. Empty: for nothing that another task could leave to it.
  blocked_on text[] not null default '{}',
  since timestamptz not null default sluice.clock(),
  detail_at timestamptz not null default sluice.clock()
) with (fillfactor = 50);

-- From when to when ready tasks of a class waited for one reason; written when it is over. The one that is not is in workload_wait.
create table sluice.wait_span (
  workload_id int not null,
  code text not null,
  detail jsonb not null,
  from_at timestamptz not null,
  to_at timestamptz not null,
  primary key (workload_id, from_at)
);
create index wait_span_to_at_idx on sluice.wait_span (to_at);

-- What tasks wait for, and limits that less than what is live has room in: lane:<id>, group:<id>, pool:<name>, dag:<id>, run:<dag id>,
-- system, resources. Kept by full passes of admission. While a key is here, no child continues in a slot that takes from it,
-- and nothing that does is admitted at once. What became ready after the last pass has none yet: it may see one task more continue.
create table sluice.contention (
  key text primary key,
  since timestamptz not null default sluice.clock()
);

-- Who does what one process does at a time, and until when unless it does it again.
create table sluice.lease (
  name text primary key,
  holder text not null,
  -- Grows when another holder takes it. What a holder of an earlier term still writes is refused: it may have been stopped
  -- between its last look at the lease and its writing.
  term int not null default 1,
  until timestamptz not null
) with (fillfactor = 50);

-- A version's tasks as rows: what set-based transitions join against. `ord` is the task's place in the spec.
create table sluice.dag_task (
  version_id bigint not null references sluice.dag_version (id),
  ord int not null,
  task_id text not null,
  type text not null,
  workload_id int not null,
  -- What `open_parents` starts with: the parents, and one more when counting successes does not decide the rule.
  gate int not null check (gate >= 0),
  -- Ordinals, ascending. Arrays and not rows: a hundred tasks that each wait for a hundred are two hundred of these.
  parents int[] not null,
  children int[] not null,
  starts_ready boolean not null,
  is_leaf boolean not null,
  trigger_rule text not null,
  -- The children whose rule is other than all_success, ascending: how this task ends is counted for them.
  -- A child under all_success is decided by the first parent that ends other than well.
  counted_children int[] not null,
  -- Ends of an attempt that call somebody: success, failed, retry.
  calls text[] not null default '{}',
  -- The whole task in its compact form: what a worker needs to run it.
  spec jsonb not null,
  primary key (version_id, ord)
);
-- Which workloads are of use.
create index dag_task_workload_idx on sluice.dag_task (workload_id);

-- The code of function tasks, content-addressed: `files` maps relative paths to source text.
create table sluice.bundle (
  hash text primary key,
  files jsonb not null,
  created_at timestamptz not null default sluice.clock()
);

create table sluice.import_error (
  file text primary key,
  problems jsonb not null,
  seen_at timestamptz not null default sluice.clock()
);

------------------------------------------------------------------------------------------------ runs

-- The states of what changes at every step of a run are domains and lists in constraints are literals: Postgres parses a table's
-- constraints anew for each statement that writes to it, a list of constants at a price of 40 words each, and keeps those of a domain.
create domain sluice.run_state as text check (value in ('queued', 'running', 'success', 'failed', 'cancelled'));
create domain sluice.trigger_kind as text check (value in ('schedule', 'manual', 'api', 'backfill', 'dag', 'event'));
create domain sluice.task_state as text check (value in ('waiting', 'ready', 'queued', 'running', 'success', 'failed', 'skipped',
  'upstream_failed', 'cancelled', 'retrying', 'deferred'));
create domain sluice.live_state as text check (value in ('queued', 'running'));
create domain sluice.attempt_end as text check (value in ('success', 'failed', 'skipped', 'lost', 'cancelled'));

-- Runs, their progress and their task instances are plain tables, whose rows are deleted when a run has been kept long enough.
-- Their history lies in tables that are partitioned by the run's id: see "generations of runs" below.
create table sluice.dag_run (
  id bigint primary key,
  dag_id text not null,
  version_id bigint not null,
  state sluice.run_state not null,
  trigger_kind sluice.trigger_kind not null,
  logical_date timestamptz not null,
  -- The time it is about; for a run that no schedule or backfill made, mostly the one that its DAG's schedule would be at.
  interval_start timestamptz not null,
  interval_end timestamptz not null,
  -- What made it, where that is one of these; a run of a backfill is one of a schedule, too.
  schedule_id bigint,
  backfill_id bigint,
  conf jsonb not null default '{}',
  -- What tasks see: conf, with the params' defaults.
  params jsonb not null default '{}',
  note text,
  actor text not null,
  -- Who paused it, and when; its tasks are not admitted meanwhile.
  paused_by text,
  paused_at timestamptz,
  -- For how long it is kept after its end; what was its DAG's time when it was made.
  keep_days int not null,
  created_at timestamptz not null default sluice.clock(),
  started_at timestamptz,
  ended_at timestamptz,
  constraint ended_iff_final check ((state = any ('{success,failed,cancelled}')) = (ended_at is not null)),
  constraint made_by_its_kind check
    ((trigger_kind = any ('{schedule,backfill}')) = (schedule_id is not null)
     and (trigger_kind = 'backfill') = (backfill_id is not null))
);
create trigger note_pause before update of paused_by on sluice.dag_run for each row
  when (old.paused_by is distinct from new.paused_by) execute function sluice.note_pause();
create index dag_run_going_idx on sluice.dag_run (dag_id, id) where state = 'running';
-- Without the runs of backfills, of which there may be thousands: they are started by their backfill.
create index dag_run_queued_idx on sluice.dag_run (dag_id, id) where state = 'queued' and backfill_id is null;
create index dag_run_backfill_idx on sluice.dag_run (backfill_id, logical_date, id) where backfill_id is not null;
create index dag_run_backfill_queued_idx on sluice.dag_run (backfill_id, logical_date, id)
  where state = 'queued' and backfill_id is not null;
create index dag_run_backfill_going_idx on sluice.dag_run (backfill_id) where state = 'running' and backfill_id is not null;
create index dag_run_dag_id_id_idx on sluice.dag_run (dag_id, id desc);
-- Which versions are of use.
create index dag_run_version_id_idx on sluice.dag_run (version_id);
create index dag_run_interval_end_idx on sluice.dag_run (dag_id, interval_end);
-- What retention reads: the oldest ends of each time.
create index dag_run_ended_idx on sluice.dag_run (keep_days, ended_at) where ended_at is not null;

-- Its primary key is the rule "exactly one run per key".
create table sluice.run_key (
  dag_id text not null,
  -- Keys of `schedule` are the schedule and the logical date; of `backfill` the backfill, the schedule, the logical date, and which
  -- run of these it is when it is not the first.
  kind text not null check (kind in ('idempotency', 'schedule', 'backfill')),
  key text not null,
  run_id bigint not null,
  request_hash text not null,
  primary key (dag_id, kind, key)
);
-- For the deletion of runs.
create index run_key_run_id_idx on sluice.run_key (run_id);

-- Apart from dag_run: finishers update this row, so they never need the run row itself.
create table sluice.run_progress (
  run_id bigint primary key,
  open int not null check (open >= 0),
  failed_leaves int not null default 0,
  -- A task ended in a way that counting successes does not cover, and nobody has looked at the others' rules yet.
  unsettled boolean not null default false
) with (fillfactor = 50);
create index run_progress_unsettled_idx on sluice.run_progress (run_id) where unsettled;

-- id = run_id << 20 | ord: see lib/domain/ids.ts.
create table sluice.task_instance (
  id bigint primary key,
  run_id bigint not null,
  state sluice.task_state not null,
  workload_id int not null,
  -- Of its workload.
  lane_id int not null,
  -- Parents that have not succeeded yet (see dag_task.gate); at 0 a waiting task is ready.
  open_parents int not null check (open_parents >= 0),
  attempts int not null default 0,
  lost_attempts int not null default 0,
  -- It has lost so many workers that it may be what kills them: of such tasks a worker runs one at a time. Not when it has ended: each
  -- claim looks for suspect ones, and must not read those of months.
  suspect boolean not null generated always as (lost_attempts >= 3 and ended_at is null) stored,
  -- A suspect one that waits until the sweep lets it go: of those of a lane, as many are let go as workers serve it.
  waits_apart boolean not null default false,
  -- Failed attempts since the task was last cleared: what the retry policy counts.
  failures int not null default 0,
  -- When it goes on: with the next attempt after a failure, or with the next look.
  not_before timestamptz,
  -- The attempt that said "not yet" and goes on; null when the next one is new.
  deferred_id uuid,
  -- Its run or its DAG is paused: not admitted.
  held boolean not null default false,
  -- What admission looks for. A column of its own and not the index's predicate: Postgres writes every index anew when a
  -- column of a predicate changes, and "state" changes at each step of a task's life.
  admissible boolean not null generated always as (state = 'ready' and not held and not waits_apart) stored,
  ready_at timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  constraint in_its_run check (id >> 20 = run_id),
  constraint waits_for_its_time check ((state = any ('{retrying,deferred}')) = (not_before is not null)),
  constraint goes_on_while_open check
    (case when deferred_id is null then state <> 'deferred' else state = any ('{deferred,ready,queued,running}') end),
  constraint ended_iff_final check
    ((state = any ('{success,failed,skipped,upstream_failed,cancelled}')) = (ended_at is not null))
) with (fillfactor = 60);
create index task_instance_ready_idx on sluice.task_instance (lane_id, workload_id, id) where admissible;
-- What has become ready since the last look: a pass of admission then reads no class that it knows.
create index task_instance_new_idx on sluice.task_instance (lane_id, ready_at) where admissible;
-- Few, of ten million: open ones only.
create index task_instance_suspect_idx on sluice.task_instance (id) where suspect;
create index task_instance_not_before_idx on sluice.task_instance (not_before) where not_before is not null;

-- How the parents of a waiting task ended other than well, for the tasks that have such a parent: with `open_parents` it is all
-- that a trigger rule counts. Gone when the task does not wait any more.
create table sluice.parent_ends (
  task_instance_id bigint primary key,
  -- Those that were cancelled count here, too.
  failed int not null default 0 check (failed >= 0),
  upstream_failed int not null default 0 check (upstream_failed >= 0),
  skipped int not null default 0 check (skipped >= 0)
) with (fillfactor = 50);

-- What a person asked of a run: committed before any of it is done, without a lock of the run, and deleted with the last slice
-- of it. While it is there, nothing of the run is started, admitted, claimed or continued; the end of an attempt that runs counts
-- until the slice of its task. A run that had ended keeps its state and its time until the last slice, although some of its tasks
-- are open: only then is it known whether it goes on, ends in another way, or has the end that it had.
-- `pause` and `resume` move no task: they bring `held` of the tasks in line with `run_pause`, whichever of both it says by then.
create table sluice.run_action (
  run_id bigint primary key,
  kind text not null check (kind in ('cancel', 'clear', 'mark', 'kill', 'pause', 'resume')),
  -- Of a clear its scope, of a mark the slot and the state, of a kill the slot; of a pause and a resume `from`, the ordinal
  -- before which no task is left.
  args jsonb not null default '{}',
  actor text not null,
  reason text,
  requested_at timestamptz not null default sluice.clock(),
  -- The slots that get another state, in their order, and how many they are; found by the first slice.
  slots int[] not null default '{}',
  -- The slots that were ready then: a task that an end made ready between two slices is decided anew by the last one.
  ready int[] not null default '{}',
  total int check (total >= 0),
  -- How many of them have it; when all have, what waits for them is being decided.
  done int not null default 0 check (done >= 0 and done <= coalesce(total, 0))
);

-- Runs that were kept long enough and are deleted, while task instances of theirs are left.
create table sluice.run_deletion (
  run_id bigint primary key,
  -- The ordinal from which on task instances may be left: a slice does not pass over what the ones before it deleted.
  next_ord int not null default 0
);

-- A task that failed for good, kept with its error until somebody replays or dismisses it.
create table sluice.dead_letter (
  task_instance_id bigint primary key,
  dag_id text not null,
  task_id text not null,
  attempt int not null,
  reason text not null,
  error text,
  failed_at timestamptz not null default sluice.clock(),
  dismissed_at timestamptz,
  dismissed_by text,
  constraint dismissed_by_somebody check ((dismissed_at is null) = (dismissed_by is null))
) partition by range (task_instance_id);
create index dead_letter_open_idx on sluice.dead_letter (failed_at desc, task_instance_id) where dismissed_at is null;

-- One row per task instance from admission to end: the primary key is the rule "one live attempt", and
-- occupancy is an aggregate over this table, never a counter.
create table sluice.live_attempt (
  task_instance_id bigint primary key,
  number int not null,
  id uuid not null,
  state sluice.live_state not null,
  workload_id int not null,
  -- Of its workload.
  lane_id int not null,
  -- The order in which the lane's attempts are claimed.
  seq bigint generated always as identity,
  -- When its task became ready; for a child that continued in its parent's slot, when it started.
  ready_at timestamptz not null,
  queued_at timestamptz not null default sluice.clock(),
  -- The only worker that may take it: admission gives a task that asks for processors or memory to one that has them.
  assigned_to text,
  worker_id text,
  worker_epoch bigint,
  worker_version text,
  token uuid,
  started_at timestamptz,
  lease_until timestamptz,
  -- When its worker last renewed the lease; null before the first time.
  heartbeat_at timestamptz,
  constraint running_is_leased check ((state = 'running') =
    (worker_id is not null and worker_epoch is not null and token is not null
      and started_at is not null and lease_until is not null))
) with (fillfactor = 60);
-- What is handed over and not taken yet, oldest first: asked before a child goes on in its parent's slot.
create index live_attempt_queued_idx on sluice.live_attempt (lane_id, workload_id, task_instance_id) where state = 'queued';
-- What a worker claims, in order: from a lane, and what only it may take.
create index live_attempt_lane_idx on sluice.live_attempt (lane_id, seq) where state = 'queued' and assigned_to is null;
create index live_attempt_assigned_idx on sluice.live_attempt (assigned_to, seq)
  where state = 'queued' and assigned_to is not null;

-- An attempt that said "not yet", from then to its end: what its looks have in common. One row, however often it looks: it may
-- do so every few seconds for days, and a row of history for each look would say nothing. While it looks there is a live
-- attempt of the same number and id beside it. Written under the lock of its task instance.
create table sluice.deferral (
  task_instance_id bigint primary key,
  number int not null,
  id uuid not null,
  -- How often it has said so, and what it said last.
  times int not null check (times > 0),
  reason text not null,
  -- Of the last look.
  worker_id text not null,
  -- Of the first look.
  ready_at timestamptz not null,
  queued_at timestamptz not null,
  started_at timestamptz not null,
  -- Of all looks: the most memory, and the sums.
  peak_memory bigint,
  cpu_ms bigint,
  log_bytes bigint not null
) with (fillfactor = 50);

------------------------------------------------------------------------------------------------ history

create table sluice.attempt (
  task_instance_id bigint not null,
  number int not null,
  id uuid not null,
  state sluice.attempt_end not null,
  reason text not null,
  exit_code int,
  error text,
  -- Bytes and milliseconds of what it ran as a process; null where nobody counted.
  peak_memory bigint,
  cpu_ms bigint,
  -- How often it said "not yet"; null when it never did.
  deferrals int,
  -- Null when it was cancelled before a worker took it; the version is that of the worker's release.
  worker_id text,
  worker_version text,
  ready_at timestamptz not null,
  queued_at timestamptz not null,
  started_at timestamptz,
  -- Of a lost attempt: when its worker last renewed the lease.
  heartbeat_at timestamptz,
  ended_at timestamptz not null default sluice.clock(),
  primary key (task_instance_id, number)
) partition by range (task_instance_id);

-- What befalls runs and tasks, but for the ordinary life of an attempt, whose own row has the times: when its task was ready, when
-- it was queued, when a worker began it, and when it succeeded. Most moves are of these four kinds, and no event.
create table sluice.event (
  id bigint generated always as identity,
  at timestamptz not null default sluice.clock(),
  run_id bigint not null,
  -- Null for an event of the run itself.
  task_instance_id bigint,
  attempt int,
  from_state text,
  to_state text not null,
  reason text,
  actor text not null,
  primary key (run_id, id)
) partition by range (run_id);

create table sluice.task_log (
  task_instance_id bigint not null,
  attempt int not null,
  seq int not null,
  at timestamptz not null default sluice.clock(),
  stream text not null check (stream in ('stdout', 'stderr', 'system')),
  -- Of the output. A chunk that is shorter is compressed with zstd, by its worker: Postgres' own way takes four times as long.
  bytes int not null,
  chunk bytea storage external not null check (length(chunk) <= bytes),
  primary key (task_instance_id, attempt, seq)
) partition by range (task_instance_id);

-- Output of attempts that their worker could not store and gave up. `seq` is the place in the log that says so.
create table sluice.log_loss (
  task_instance_id bigint not null,
  attempt int not null,
  seq int not null,
  bytes bigint not null check (bytes > 0),
  at timestamptz not null default sluice.clock(),
  primary key (task_instance_id, attempt, seq)
);

-- Ends that somebody is to be told of, written with the end itself and moved to pg-boss right after.
create table sluice.callback (
  id bigint generated always as identity primary key,
  run_id bigint not null,
  -- Null for an end of the run itself.
  task_instance_id bigint,
  attempt int,
  event text not null check (event in ('success', 'failed', 'retry')),
  at timestamptz not null default sluice.clock()
);

------------------------------------------------------------------------------------------------ schedules

-- One row for each schedule that a DAG has or had. `timing` is its expression or interval, and its zone: what makes it the same one
-- in the next version.
create table sluice.schedule (
  id bigint generated always as identity primary key,
  dag_id text not null references sluice.dag (id),
  timing text not null,
  -- Its place in the current version; null when that has no such schedule.
  ord int,
  -- All that is needed to compute with it: lib/domain/schedule/definition.ts.
  definition jsonb not null,
  -- Its definition before that, by which everything counts that was due by `former_to`, until that is done with.
  former jsonb,
  former_to timestamptz,
  -- What was due up to here is done with: started, or dropped.
  position timestamptz not null,
  -- The last instant that was; the next interval does not begin before it.
  last_due timestamptz,
  -- The next instant; null when none comes.
  next_due timestamptz,
  -- When a scheduler is to look at it: when the next run starts, or at once when something about it has changed. Null when there is
  -- nothing to wait for: no further instant, not in the current version, or its DAG is paused or missing.
  next_at timestamptz,
  -- What was due in between is not made up for: its DAG was paused.
  skip_from timestamptz,
  skip_to timestamptz,
  -- Grows with each change: who computed with an older one has computed in vain.
  revision bigint not null default 1,
  unique (dag_id, ord),
  constraint former_to_a_time check ((former is null) = (former_to is null)),
  constraint skips_a_stretch check ((skip_from is null) = (skip_to is null) and skip_from <= skip_to),
  constraint looks_at_what_is_defined check (ord is not null or next_at is null)
) with (fillfactor = 50);
create index schedule_next_at_idx on sluice.schedule (next_at) where next_at is not null;

-- Runs that were due and never started, by schedule, UTC day of the decision and reason.
create table sluice.dropped_runs (
  schedule_id bigint not null references sluice.schedule (id) on delete cascade,
  day date not null default sluice.today(),
  reason text not null check (reason in ('MISSED', 'TOO_MANY', 'PAUSED')),
  -- At least so many: beyond 100,000 at a time they are not counted.
  runs bigint not null check (runs > 0),
  first_due timestamptz not null,
  last_due timestamptz not null,
  primary key (schedule_id, day, reason)
);

------------------------------------------------------------------------------------------------ schedulers

-- Who starts runs and does the duties, and how long ago each duty was last done; for people.
create table sluice.scheduler (
  id text primary key,
  host text not null,
  pid int not null,
  version text not null,
  started_at timestamptz not null default sluice.clock(),
  seen_at timestamptz not null default sluice.clock(),
  -- [{ name, ok, ageMs, maxAgeMs, error }]
  duties jsonb not null
) with (fillfactor = 50);

-- Rows that break a duty: it goes on without them, and takes them along again at their time.
create table sluice.quarantine (
  duty text not null,
  -- Of the row, in the duty's own terms.
  key text not null,
  error text not null,
  failures int not null default 1 check (failures > 0),
  since timestamptz not null default sluice.clock(),
  retry_at timestamptz not null,
  primary key (duty, key)
);

------------------------------------------------------------------------------------------------ backfills

-- A set of runs over a range of logical dates. How far it is, is counted from its runs.
create table sluice.backfill (
  id bigint generated always as identity primary key,
  dag_id text not null references sluice.dag (id),
  state text not null default 'running'
    check (state in ('running', 'paused', 'cancelling', 'success', 'failed', 'cancelled')),
  -- The logical dates from and to which, both included, and the place of the schedule that they are of; null is all of them.
  range_start timestamptz not null,
  range_end timestamptz not null check (range_start <= range_end),
  schedule_ord int,
  start_order text not null check (start_order in ('asc', 'desc')),
  max_active int not null check (max_active > 0),
  -- Of its runs' tasks, whatever their own is.
  priority text not null check (priority in ('high', 'medium', 'low')),
  reprocess text not null check (reprocess in ('missing', 'failed', 'all')),
  conf jsonb not null,
  note text,
  -- Logical dates that it has runs for; there may be several runs of one, after a retry.
  slices int not null check (slices > 0),
  actor text not null,
  -- Who paused it, and when; none of its runs starts and none of their tasks is admitted meanwhile.
  paused_by text,
  paused_at timestamptz,
  -- The same key for the same DAG gives the same backfill; the hash tells whether it is the same request.
  key text,
  request_hash text not null,
  created_at timestamptz not null default sluice.clock(),
  ended_at timestamptz,
  unique (dag_id, key),
  constraint ended_iff_final check ((state in ('success', 'failed', 'cancelled')) = (ended_at is not null)),
  constraint paused_by_somebody check ((state = 'paused') = (paused_by is not null))
);
create trigger note_pause before update of paused_by on sluice.backfill for each row
  when (old.paused_by is distinct from new.paused_by) execute function sluice.note_pause();
create index backfill_open_idx on sluice.backfill (id) where ended_at is null;
create index backfill_dag_id_id_idx on sluice.backfill (dag_id, id desc);

create table sluice.backfill_event (
  backfill_id bigint not null references sluice.backfill (id) on delete cascade,
  id bigint generated always as identity,
  at timestamptz not null default sluice.clock(),
  from_state text,
  to_state text not null,
  reason text,
  actor text not null,
  primary key (backfill_id, id)
);

-- The latest run of each logical date of a backfill: what its outcome is made of.
create view sluice.backfill_slice as
  select distinct on (backfill_id, logical_date, schedule_id)
         backfill_id, schedule_id, logical_date, id as run_id, state, interval_start, interval_end, started_at, ended_at
    from sluice.dag_run where backfill_id is not null
   order by backfill_id, logical_date, schedule_id, id desc;

-- Who holds a run's tasks: whoever paused the run itself, its backfill or, of a run without one, its DAG; and they are held while
-- the run does not go on: while it is queued, having been made to go again, or has ended and an action gives it something to do.
create view sluice.run_pause as
  select r.id as run_id, r.paused_by as run_paused_by, case when r.backfill_id is null then d.paused_by end as dag_paused_by,
         b.paused_by as backfill_paused_by,
         r.state <> 'running' or coalesce(r.paused_by, b.paused_by, case when r.backfill_id is null then d.paused_by end) is not null
           as is_held
    from sluice.dag_run r
    join sluice.dag d on d.id = r.dag_id
    left join sluice.backfill b on b.id = r.backfill_id;

-- So many open tasks are held, or let go, by the call that asks for it; of more, actions are made, which slices carry out.
create function sluice.hold_at_once() returns int language sql immutable as $$ select 5000 $$;

-- `queued` → `ready` for those of these tasks, which the caller has locked, that no worker has taken: with the count of attempts as
-- before. Returns the run of each.
create function sluice.take_back(ids bigint[], why text) returns setof bigint language sql as $$
  with gone as (
    delete from sluice.live_attempt a where a.task_instance_id = any (ids) and a.state = 'queued'
    returning a.task_instance_id, a.number, a.queued_at),
  -- Both moves: no row of an attempt is left that would say when it was queued. A look has an attempt, which says so.
  e as (
    insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor, at)
    select g.task_instance_id >> 20, g.task_instance_id, g.number, m.from_state, m.to_state, m.reason, 'admission', m.at
      from gone g
     cross join lateral (select t.deferred_id from sluice.task_instance t where t.id = g.task_instance_id offset 0) t
     cross join lateral (values (1, 'ready', 'queued', null, g.queued_at), (2, 'queued', 'ready', why, sluice.clock()))
                   m(place, from_state, to_state, reason, at)
     where m.place = 2 or t.deferred_id is null
     order by g.task_instance_id, m.place)
  update sluice.task_instance t
     set state = 'ready', attempts = t.attempts - case when t.deferred_id is null then 1 else 0 end
   where t.id = any (array(select task_instance_id from gone)) and t.state = 'queued'
  returning t.run_id
$$;

-- Holds up to `most` tasks of a run that have not ended, or lets them go, from an ordinal on, in the order of their ids; what was
-- handed over of those that are held is taken back. Returns how many there were, and the ordinal after the last one.
create function sluice.hold_tasks(of_run bigint, wanted boolean, from_ord int, most int, out changed int, out next_ord int,
                                  out taken_back int)
language plpgsql as $$
declare
  ids bigint[] := array(select t.id from sluice.task_instance t
                         where t.id >= of_run << 20 | from_ord and t.id < (of_run + 1) << 20
                           and t.held <> wanted and t.ended_at is null
                         order by t.id limit most for update);
  handed_over bigint[];
begin
  changed := cardinality(ids);
  next_ord := (ids[changed] & 1048575) + 1;
  taken_back := 0;
  with moved as (
    update sluice.task_instance t
       set held = wanted, ready_at = case when t.state = 'ready' and not wanted then sluice.clock() else t.ready_at end
     where t.id = any (ids)
    returning t.id, t.state)
  select array_agg(id) into handed_over from moved where state = 'queued';
  -- A statement of its own: what admission handed over while this waited for its locks is seen as well.
  if wanted and handed_over is not null then
    taken_back := (select count(*) from sluice.take_back(handed_over, 'PAUSED'));
  end if;
end $$;

-- Ends the action of a run: `ended`, or `replaced` when it has another one by now, which is still to be carried out. What paused or
-- resumed the run meanwhile has left the action as it was: when `held` of a task is not as that says, the action continues
-- as a `pause` or a `resume`: `turned`. Its row is locked first: whoever pauses holds it until the mark is committed.
create function sluice.end_action(of_run bigint, of_kind text) returns text language plpgsql as $$
declare
  is_kind text;
  wanted boolean;
  paused_by text;
begin
  select a.kind into is_kind from sluice.run_action a where a.run_id = of_run for update;
  if not found then
    return 'ended';
  end if;
  if is_kind <> of_kind and not array[is_kind, of_kind] <@ array['pause', 'resume'] then
    return 'replaced';
  end if;
  select p.is_held, coalesce(p.run_paused_by, p.backfill_paused_by, p.dag_paused_by) into wanted, paused_by
    from sluice.run_pause p join sluice.dag_run r on r.id = p.run_id where p.run_id = of_run and r.ended_at is null;
  if found and exists (select from sluice.task_instance t
                        where t.id >= of_run << 20 and t.id < (of_run + 1) << 20 and t.held <> wanted and t.ended_at is null) then
    update sluice.run_action a
       set kind = case when wanted then 'pause' else 'resume' end, args = '{}', actor = coalesce(paused_by, a.actor), reason = null,
           requested_at = sluice.clock(), slots = '{}', ready = '{}', total = null, done = 0
     where a.run_id = of_run;
    return 'turned';
  end if;
  delete from sluice.run_action a where a.run_id = of_run;
  return 'ended';
end $$;

-- One slice of a pause or a resume, of up to `most` tasks. In one call, so that no process that stands still keeps the locks of
-- tasks; and beside the ends of attempts, which take the same lock of the run: an end waits for a slice that has its task, and for no
-- other. `outcome` is null when the run has no such action, and `open` while there is more to do. What is locked for longer, as the
-- children of an end that has thousands of them, is for another try: the caller is to return soon.
create function sluice.hold_slice(of_run bigint, most int, out outcome text, out rows int, out taken_back int, out dag text,
                                  out backfill bigint, out state text)
language plpgsql set lock_timeout = '500ms' as $$
declare
  a sluice.run_action;
  wanted boolean;
  next_ord int;
begin
  rows := 0;
  taken_back := 0;
  select r.dag_id, r.backfill_id, r.state into dag, backfill, state from sluice.dag_run r where r.id = of_run for key share;
  select * into a from sluice.run_action x where x.run_id = of_run and x.kind in ('pause', 'resume');
  if not found then
    return;
  end if;
  select p.is_held into wanted from sluice.run_pause p where p.run_id = of_run;
  if state in ('queued', 'running') then
    select h.changed, h.next_ord, h.taken_back into rows, next_ord, taken_back
      from sluice.hold_tasks(of_run, wanted, coalesce((a.args ->> 'from')::int, 0), most) h;
  end if;
  if rows < most then
    outcome := case sluice.end_action(of_run, a.kind) when 'ended' then 'complete' else 'open' end;
    return;
  end if;
  outcome := 'open';
  -- Another process may have written a slice beside this one.
  update sluice.run_action x
     set kind = case when wanted then 'pause' else 'resume' end, args = jsonb_build_object('from', next_ord), done = x.done + rows,
         total = greatest(x.done + rows, coalesce(x.total, (select p.open from sluice.run_progress p where p.run_id = of_run)))
   where x.run_id = of_run and x.kind in ('pause', 'resume');
end $$;

------------------------------------------------------------------------------------------------ values

create table sluice.xcom (
  task_instance_id bigint not null,
  key text not null,
  value jsonb not null,
  -- Of its text: what is too much for a task is known without reading it.
  bytes int not null check (bytes >= 0),
  created_at timestamptz not null default sluice.clock(),
  -- Null for what is kept as long as its run; what has expired is as if it were not there.
  expires_at timestamptz,
  primary key (task_instance_id, key)
) partition by range (task_instance_id);
create index xcom_expires_at_idx on sluice.xcom (expires_at) where expires_at is not null;

------------------------------------------------------------------------------------------------ generations of runs

-- A generation is a range of run ids. The history of a run is in the partitions of its generation, which are dropped when no run is
-- left in the range: the larger part of what a run leaves is never deleted row by row. DAGs that keep their runs for other times
-- have other generations.

-- How long runs are kept whose DAG says nothing, and how many ids a generation has.
create table sluice.retention (
  one boolean primary key default true check (one),
  keep_days int not null default 30 check (keep_days in (1, 7, 30, 90, 365, 36500)),
  generation_runs bigint not null default 10000000 check (generation_runs > 0),
  -- When the next slice of deletions is due, over all schedulers.
  next_slice_at timestamptz,
  -- How far this pass over what is to be deleted is: the class and the end of its last run that was deleted, and the last run whose
  -- task instances were. A slice begins there, and not where dead rows are: under an old snapshot no vacuum removes these.
  slice_class int,
  slice_ended_at timestamptz,
  slice_run bigint
);
insert into sluice.retention default values;

create table sluice.generation (
  -- Rises with time over all classes, as `first_run` does: later runs of a DAG have larger ids.
  number int primary key,
  -- Its class. 36,500 is for ever.
  keep_days int not null check (keep_days in (1, 7, 30, 90, 365, 36500)),
  first_run bigint not null,
  -- The first id after it.
  end_run bigint not null check (end_run > first_run),
  opened_at timestamptz not null default sluice.clock(),
  -- No run begins in it any more.
  closed_at timestamptz,
  -- Another one is to follow at once: a DAG has come from a class whose ids are larger.
  overtaken boolean not null default false,
  -- No run is left in it, and it is being dropped.
  dropping_at timestamptz check (dropping_at is null or closed_at is not null)
);
create unique index generation_open_idx on sluice.generation (keep_days) where closed_at is null;

-- No history is dropped of which a run is left, open, revived or ended, whatever a statement says.
create function sluice.refuse_drop() returns trigger language plpgsql as $$
begin
  if exists (select from sluice.dag_run where id >= old.first_run and id < old.end_run) then
    raise exception 'generation % still has runs', old.number using errcode = 'object_in_use';
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end $$;
create trigger refuse_drop_trg before delete on sluice.generation for each row execute function sluice.refuse_drop();
create trigger refuse_mark_trg before update of dropping_at on sluice.generation for each row
  when (new.dropping_at is not null) execute function sluice.refuse_drop();

-- The tables that are partitioned, in the order in which they are dropped: a run cannot be made without an event.
create function sluice.history_tables() returns table (name text, by_task boolean) language sql immutable as $$
  values ('event', false), ('dead_letter', true), ('xcom', true), ('attempt', true), ('task_log', true)
$$;

-- Opens another generation for a class and closes the one before. Runs go into it after `enter_generations`, which must see it
-- committed; the first one of a class has runs at once. A partition is made apart and attached: that waits for nobody who reads or writes.
create function sluice.open_generation(of_days int) returns int language plpgsql as $$
declare
  size bigint;
  fresh int;
  begins bigint;
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
  execute format('create sequence if not exists sluice.%I start with %s', 'run_id_' || of_days, begins);
  return fresh;
end $$;

-- Has runs go into the open generations, where they do not yet.
create function sluice.enter_generations() returns void language plpgsql as $$
declare
  g record;
  at bigint;
begin
  perform pg_advisory_xact_lock(hashtext('sluice.generation'));
  for g in select keep_days, first_run from sluice.generation where closed_at is null loop
    execute format('select last_value from sluice.%I', 'run_id_' || g.keep_days) into at;
    if at < g.first_run then
      perform setval(format('sluice.%I', 'run_id_' || g.keep_days), g.first_run, false);
    end if;
  end loop;
end $$;

-- Before a DAG's runs are kept for so long: there is such a class, and one whose ids are not behind those the DAG has.
create function sluice.ensure_class(of_days int, of_dag text) returns void language plpgsql as $$
begin
  if not exists (select from sluice.generation where keep_days = of_days and closed_at is null) then
    perform pg_advisory_xact_lock(hashtext('sluice.generation'));
    if not exists (select from sluice.generation where keep_days = of_days and closed_at is null) then
      perform sluice.open_generation(of_days);
    end if;
  end if;
  update sluice.generation set overtaken = true
   where keep_days = of_days and closed_at is null and end_run <= (select max(id) from sluice.dag_run where dag_id = of_dag);
end $$;

-- For how many days the next run of a DAG is kept: which class it is of.
create function sluice.keep_days_of(of_dag text) returns int language sql stable as $$
  select coalesce(d.keep_days, r.keep_days) from sluice.dag d cross join sluice.retention r where d.id = of_dag
$$;

-- The id of the next run of a class.
create function sluice.new_run_id(of_days int) returns bigint language sql volatile as $$
  select nextval(('sluice.run_id_' || of_days)::regclass)
$$;

-- Deletes up to `most` ended runs that have been kept for the days of their class, the oldest ends first and none before `since`,
-- with their progress and their keys, and leaves their task instances to `delete_tasks`. A run that another session has locked is left
-- out: it may be on its way back; one that came back since this began has no end any more, which is checked once more under its lock.
-- Runs stay while a call of their end waits, while a person's action on them does, and while their backfill goes on, whose outcome is
-- made of them.
create function sluice.delete_runs(of_days int, since timestamptz, most int, out deleted int, out up_to timestamptz)
language plpgsql as $$
declare
  gone bigint[];
begin
  gone := array(select r.id from sluice.dag_run r
                 where r.keep_days = of_days and r.ended_at <= (select sluice.clock()) - of_days * interval '1 day'
                   and r.ended_at >= since
                   and r.id not in (select c.run_id from sluice.callback c)
                   and r.id not in (select a.run_id from sluice.run_action a)
                   and (r.backfill_id is null
                        or r.backfill_id not in (select b.id from sluice.backfill b where b.ended_at is null))
                 order by r.ended_at limit most for update of r skip locked);
  -- A later statement sees an action whose slices were written before the locks above were taken. A run that has ended keeps its
  -- row as it is until the last of them.
  gone := array(select g from unnest(gone) g where g not in (select a.run_id from sluice.run_action a));
  deleted := cardinality(gone);
  if deleted = 0 then
    return;
  end if;
  with d as (delete from sluice.dag_run where id = any (gone) returning ended_at) select max(ended_at) into up_to from d;
  insert into sluice.run_deletion (run_id) select unnest(gone);
  delete from sluice.run_progress where run_id = any (gone);
  delete from sluice.run_key where run_id = any (gone);
end $$;

-- Deletes up to `most` rows of runs that are gone and have larger ids than `since`: their task instances, run by run, and the row that
-- remembers a run when none is left of it. `up_to` is the last such run.
create function sluice.delete_tasks(since bigint, most int, out deleted int, out up_to bigint) language plpgsql as $$
declare
  d record;
  n int;
  last bigint;
begin
  deleted := 0;
  up_to := since;
  for d in select run_id, next_ord from sluice.run_deletion where run_id > since order by run_id for update skip locked loop
    with gone as (
      delete from sluice.task_instance
       where id = any (array(select id from sluice.task_instance
                              where id >= d.run_id << 20 | d.next_ord and id < (d.run_id + 1) << 20
                              order by id limit most - deleted))
      returning id)
    select count(*), max(id) into n, last from gone;
    deleted := deleted + n;
    if deleted = most then
      update sluice.run_deletion set next_ord = (last & 1048575) + 1 where run_id = d.run_id;
      exit;
    end if;
    -- What a person asked of the run at the moment of its deletion.
    delete from sluice.run_action where run_id = d.run_id;
    delete from sluice.run_deletion where run_id = d.run_id;
    deleted := deleted + 1;
    up_to := d.run_id;
    exit when deleted = most;
  end loop;
end $$;

-- One slice of retention: deletes up to `most` rows, task instances of runs that are gone before further runs. `wait_ms` is how long
-- the caller should wait before the next slice, four times as long as this one took, so that deleting takes a fifth of one
-- connection's time at most, however many schedulers call; null when nothing is left to delete.
create function sluice.delete_slice(most int, out deleted int, out wait_ms int) language plpgsql as $$
declare
  at timestamptz := sluice.clock();
  r sluice.retention;
  days int;
  since timestamptz;
begin
  deleted := 0;
  select * into r from sluice.retention for no key update skip locked;
  if not found or r.next_slice_at between at and at + interval '1 minute' then
    wait_ms := coalesce(ceil(extract(epoch from r.next_slice_at - at) * 1000), 1000);
    return;
  end if;
  select t.deleted, t.up_to into deleted, r.slice_run from sluice.delete_tasks(coalesce(r.slice_run, 0), most) t;
  if deleted = 0 then
    -- A run has up to four rows beside its task instances: itself, its progress, its key, and what remembers it.
    since := coalesce(r.slice_ended_at, '-infinity');
    for days in select distinct keep_days from sluice.generation
                 where keep_days < 36500 and keep_days >= coalesce(r.slice_class, 0) order by 1 loop
      select d.deleted * 4, d.up_to into deleted, since from sluice.delete_runs(days, since, most / 4) d;
      exit when deleted > 0;
      since := '-infinity';
    end loop;
    if deleted > 0 then
      update sluice.retention set slice_class = days, slice_ended_at = since;
    elsif r.slice_class is not null or r.slice_run > 0 then
      -- The end of a pass: what it left out is asked for again.
      update sluice.retention set slice_class = null, slice_ended_at = null, slice_run = null;
      wait_ms := 0;
      return;
    else
      return;
    end if;
  else
    update sluice.retention set slice_run = r.slice_run;
  end if;
  wait_ms := ceil(extract(epoch from sluice.clock() - at) * 4000);
  update sluice.retention set next_slice_at = sluice.clock() + wait_ms * interval '1 ms';
end $$;

-- How large the tables were on a day, which says how fast they grow.
create table sluice.table_size (
  day date not null default sluice.today(),
  name text not null,
  bytes bigint not null,
  primary key (day, name)
);

------------------------------------------------------------------------------------------------ workers, people

create table sluice.worker (
  id text primary key,
  -- Grows at every start under the same name: the newest process owns the name.
  epoch bigint not null,
  host text not null,
  pid int not null,
  version text not null,
  queues text[] not null,
  process_slots int not null check (process_slots >= 0),
  function_slots int not null check (function_slots >= 0),
  inline_slots int not null check (inline_slots >= 0),
  -- How many attempts it claims before it has slots for them, while its tasks are short.
  process_ahead int not null default 0 check (process_ahead >= 0),
  function_ahead int not null default 0 check (function_ahead >= 0),
  -- When it was less than before: what was claimed ahead until then is still there. Never, since this process of it began.
  ahead_since timestamptz not null default '-infinity',
  -- What its tasks may ask for, all together: thousandths of a processor and MiB.
  cpu int not null check (cpu >= 0),
  memory int not null check (memory >= 0),
  -- Labels and task types: it is given only tasks that need no others.
  offers text[] not null default '{}',
  state text not null check (state in ('active', 'draining', 'stopped')),
  -- Why it can start no task, in its words, and since when: until it can again it drains.
  trouble text,
  trouble_since timestamptz,
  constraint worker_in_trouble_drains check ((trouble is null) = (trouble_since is null) and (trouble is null or state = 'draining')),
  -- Its name is new at each start: its row is deleted when it has been gone for a while.
  is_anonymous boolean not null default false,
  started_at timestamptz not null default sluice.clock(),
  lease_until timestamptz not null
) with (fillfactor = 50);

create function sluice.note_ahead() returns trigger language plpgsql as $$
begin
  if new.epoch <> old.epoch then
    new.ahead_since := '-infinity';
  elsif new.process_ahead < old.process_ahead or new.function_ahead < old.function_ahead then
    new.ahead_since := sluice.clock();
  end if;
  return new;
end $$;
create trigger note_ahead before update of epoch, process_ahead, function_ahead on sluice.worker for each row
  execute function sluice.note_ahead();

-- Which versions of the protocol between programs and the functions here are taken: lib/domain/protocol.ts. A migration that
-- adds a version raises `max`; the one that removes the functions of an old version raises `min`.
create table sluice.protocol (
  one boolean primary key default true check (one),
  min int not null,
  max int not null check (max >= min)
);
insert into sluice.protocol (min, max) values (1, 1);

create table sluice.app_user (
  id bigint generated always as identity primary key,
  name text not null unique,
  password_hash text not null,
  role text not null check (role in ('admin', 'operator', 'viewer')),
  -- A session made under an older number is over.
  session_version int not null default 1,
  created_at timestamptz not null default sluice.clock()
);

-- Wrong passwords of each account, address and browser, kept here so that every web process counts the same.
create table sluice.sign_in_failure (
  subject text primary key,
  failures int not null,
  -- No password is checked before.
  next_try_at timestamptz not null
);
create index on sluice.sign_in_failure (next_try_at);

------------------------------------------------------------------------------------------------ vacuum

-- Partitions have theirs from `open_generation`; tables that are not named here are small and change seldom.

-- Ended rows stay for weeks. The default would leave a fifth of all of them dead before a vacuum: millions of index entries that
-- admission, the pages and retention pass over. Of task instances a vacuum is due after so many tasks as a fan-out has, whatever
-- history there is, and removes the dead entries of what was ready although they are few beside all entries: scans for what is ready
-- begin with them.
alter table sluice.dag_run set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
alter table sluice.run_progress set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
alter table sluice.task_instance set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000,
                                      autovacuum_analyze_scale_factor = 0.02, vacuum_index_cleanup = on);
alter table sluice.run_key set (autovacuum_vacuum_scale_factor = 0.02);

-- Few rows, each inserted, updated and deleted within moments: a share of them says nothing, and their vacuum takes milliseconds, so it
-- need not be slowed down.
alter table sluice.live_attempt set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
                                     autovacuum_vacuum_cost_delay = 0);
alter table sluice.deferral set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
                                 autovacuum_vacuum_cost_delay = 0);
alter table sluice.parent_ends set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
                                    autovacuum_vacuum_cost_delay = 0);
alter table sluice.callback set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
                                 autovacuum_vacuum_cost_delay = 0);
alter table sluice.run_deletion set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
                                     autovacuum_vacuum_cost_delay = 0);
alter table sluice.workload_wait set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
                                      autovacuum_vacuum_cost_delay = 0);

------------------------------------------------------------------------------------------------ the start of runs

-- Makes the task instances of these runs, which have none, and counts them: those that wait for nothing are `ready`. A task of one of
-- `workloads` gets the one at the same place of `others`.
create function sluice.make_tasks(runs bigint[], workloads int[], others int[]) returns void language plpgsql as $$
begin
  with t as (
    insert into sluice.task_instance (id, run_id, state, workload_id, lane_id, open_parents, ready_at)
    select r.id << 20 | t.ord, r.id, case when t.starts_ready then 'ready' else 'waiting' end,
           coalesce(others[array_position(workloads, t.workload_id)], t.workload_id),
           -- A class differs from the one that it stands for in its priority only: the lane is the same.
           (select w.lane_id from sluice.workload w where w.id = t.workload_id),
           t.gate, case when t.starts_ready then sluice.clock() end
      from unnest(runs) i(id)
     cross join lateral (select r.id, r.version_id from sluice.dag_run r where r.id = i.id offset 0) r
      join sluice.dag_task t on t.version_id = r.version_id
    returning run_id)
  insert into sluice.run_progress (run_id, open) select run_id, count(*) from t group by run_id;
end $$;

-- `queued` → `running` for these runs, which the caller has locked, each with all its task instances, those that wait for nothing
-- `ready`. A task of one of `workloads` gets the one at the same place of `others`. A run that goes again has its task instances, which
-- were held until now, and keeps the time of its first start; those of a large one are let go by an action.
create function sluice.begin_runs(ids bigint[], workloads int[], others int[]) returns void language plpgsql as $$
declare
  again bigint[] := array(select p.run_id from sluice.run_progress p where p.run_id = any (ids));
begin
  if again <> '{}' then
    -- One that it has by now, against which these runs are locked, lets them go at its end.
    insert into sluice.run_action (run_id, kind, actor)
    select p.run_id, 'resume', 'limits' from sluice.run_progress p
     where p.run_id = any (again) and p.open > sluice.hold_at_once() order by p.run_id
    on conflict do nothing;
    update sluice.task_instance t
       set held = false, ready_at = case when t.state = 'ready' then sluice.clock() else t.ready_at end
     where t.held and t.ended_at is null
       and t.id = any (array(select x.id
                               from sluice.run_progress p
                              cross join lateral (select k.id from sluice.task_instance k
                                                   where k.id >= p.run_id << 20 and k.id < (p.run_id + 1) << 20
                                                     and k.held and k.ended_at is null offset 0) x
                              where p.run_id = any (again) and p.open <= sluice.hold_at_once()));
  end if;
  with r as (
    update sluice.dag_run r set state = 'running', started_at = coalesce(r.started_at, sluice.clock())
     where r.id = any (ids) returning r.id)
  insert into sluice.event (run_id, from_state, to_state, actor) select id, 'queued', 'running', 'limits' from r;
  perform sluice.make_tasks(array(select i.id from unnest(ids) i(id) where i.id <> all (again)), workloads, others);
end $$;

-- Those of these queued runs, which the caller has locked, that may start, in the order given. The statement that locked them may have
-- waited for it: a pause and the end of a run change the run, so Postgres judged them again after the wait, but an action is a row of
-- another table, of which that statement sees what was committed before it began. This one begins after the locks.
create function sluice.startable(ids bigint[]) returns bigint[] language plpgsql as $$
begin
  return array(select i.id from unnest(ids) with ordinality i(id, place)
                where not exists (select from sluice.run_action x where x.run_id = i.id) order by i.place);
end $$;

-- How many runs of the DAG go on that its limit counts: without those of backfills, which have limits of their own. But who allows
-- one run at a time relies on it that no two ever overlap, so there every run counts.
create function sluice.going_runs(of_dag text, most int) returns bigint language sql stable as $$
  select count(*) from sluice.dag_run r where r.dag_id = of_dag and r.state = 'running' and (r.backfill_id is null or most = 1)
$$;

-- Where one run of the DAG may go on at a time: the oldest backfill of it, besides this one, that has a run to start.
create function sluice.next_backfill(of_dag text, besides bigint) returns bigint language sql stable as $$
  select b.id from sluice.backfill b
   where b.dag_id = of_dag and b.state = 'running' and b.ended_at is null and b.id is distinct from besides
     and exists (select from sluice.dag_run r
                  where r.backfill_id = b.id and r.state = 'queued' and r.paused_by is null
                    and not exists (select from sluice.run_action x where x.run_id = r.id))
   order by b.id limit 1
$$;

-- `queued` → `running` for as many of the DAG's runs as its limit has room for, oldest first; so many of them that about
-- `tasks_at_once` tasks are made. `more`: there may be room for others. Runs of backfills do not start here. The
-- DAG's row is taken first, in a statement of its own, so that the count sees what others committed before; without `waits`, a
-- DAG that another transaction holds is left as it is, and `busy` says so. A run of which a person wants something waits for the
-- end of that. `next_backfill`: of a DAG that allows one run at a time and has none of its own to start, the backfill that may start
-- one, also while the DAG is paused, which backfills are not.
create function sluice.activate_runs(
  of_dag text, tasks_at_once int, waits boolean, out started bigint[], out more boolean, out busy boolean, out next_backfill bigint)
language plpgsql as $$
declare
  d sluice.dag;
  room bigint;
  most bigint;
  wanted bigint[];
begin
  started := '{}';
  more := false;
  busy := false;
  if waits then
    select * into d from sluice.dag where id = of_dag and not missing for no key update;
  else
    select * into d from sluice.dag where id = of_dag and not missing for no key update skip locked;
  end if;
  if not found then
    busy := exists (select from sluice.dag where id = of_dag and not missing);
    return;
  end if;
  select d.max_active_runs - sluice.going_runs(of_dag, d.max_active_runs),
         greatest(1, tasks_at_once / (select greatest(1, count(*)) from sluice.dag_task t
                                       where t.version_id = d.current_version_id))
    into room, most;
  started := array(select id from sluice.dag_run r
                    where dag_id = of_dag and state = 'queued' and backfill_id is null and paused_by is null and d.paused_by is null
                      and not exists (select from sluice.run_action x where x.run_id = r.id)
                    order by id limit greatest(least(room, most), 0) for update of r);
  wanted := started;
  started := sluice.startable(wanted);
  -- What an action has kept from starting leaves room for others.
  more := cardinality(wanted) = most or cardinality(started) < cardinality(wanted);
  if started <> '{}' then
    perform sluice.begin_runs(started, null, null);
  elsif room > 0 and d.max_active_runs = 1 then
    next_backfill := sluice.next_backfill(of_dag, null);
  end if;
end $$;

-- The workload that is the same but for its priority; null when there is none.
create function sluice.workload_at(of_workload int, of_priority text) returns int language sql stable as $$
  select p.id from sluice.workload w
    join sluice.workload p
      on (p.dag_id, p.queue, p.slot_class, p.slots, p.cpu, p.memory, p.needs)
         = (w.dag_id, w.queue, w.slot_class, w.slots, w.cpu, w.memory, w.needs) and p.pool is not distinct from w.pool
   where w.id = of_workload and p.priority = of_priority
$$;

-- The same for a backfill, in its own order and within its own limit, whatever its DAG's pause and limit of runs are; and its end,
-- when all of its runs have one. Only where the DAG allows one run at a time does that hold here, too, and a queued run of the DAG's
-- own goes first: `yields_to` is the DAG then. What this backfill leaves of the one place is for `next_backfill`. The DAG's row is taken before the backfill's, which its pause, its cancel and its retry
-- take.
create function sluice.advance_backfill(
  of_backfill bigint, tasks_at_once int, out started bigint[], out more boolean, out ended boolean, out yields_to text, out next_backfill bigint)
language plpgsql as $$
declare
  b sluice.backfill;
  d sluice.dag;
  room bigint;
  most bigint;
  wanted bigint[];
  own_first boolean;
  workloads int[];
  others int[];
  becomes text;
begin
  started := '{}';
  more := false;
  ended := false;
  select * into d from sluice.dag where id = (select dag_id from sluice.backfill where id = of_backfill) for no key update;
  select * into b from sluice.backfill where id = of_backfill and ended_at is null for no key update;
  if not found then
    return;
  end if;
  own_first := d.max_active_runs = 1 and d.paused_by is null and not d.missing
               and exists (select from sluice.dag_run r
                            where r.dag_id = d.id and r.state = 'queued' and r.backfill_id is null and r.paused_by is null
                              and not exists (select from sluice.run_action x where x.run_id = r.id));
  if b.state = 'running' and not d.missing then
    room := b.max_active - (select count(*) from sluice.dag_run r where r.backfill_id = b.id and r.state = 'running');
    if d.max_active_runs = 1 then
      room := case when own_first then 0 else least(room, 1 - sluice.going_runs(d.id, 1)) end;
    end if;
    most := greatest(1, tasks_at_once / (select greatest(1, count(*)) from sluice.dag_task t
                                          where t.version_id = (select r.version_id from sluice.dag_run r
                                                                 where r.backfill_id = b.id and r.state = 'queued' limit 1)));
    if b.start_order = 'asc' then
      started := array(select id from sluice.dag_run r where backfill_id = b.id and state = 'queued' and paused_by is null
                          and not exists (select from sluice.run_action x where x.run_id = r.id)
                        order by logical_date, id limit greatest(least(room, most), 0) for update of r);
    else
      started := array(select id from sluice.dag_run r where backfill_id = b.id and state = 'queued' and paused_by is null
                          and not exists (select from sluice.run_action x where x.run_id = r.id)
                        order by logical_date desc, id desc limit greatest(least(room, most), 0) for update of r);
    end if;
    wanted := started;
    started := sluice.startable(wanted);
    more := cardinality(wanted) = most or cardinality(started) < cardinality(wanted);
  end if;
  if started <> '{}' then
    workloads := array(select distinct t.workload_id from sluice.dag_task t
                        where t.version_id = any (array(select r.version_id from sluice.dag_run r where r.id = any (started))));
    insert into sluice.workload (dag_id, queue, slot_class, pool, slots, priority, cpu, memory, needs)
    select distinct w.dag_id, w.queue, w.slot_class, w.pool, w.slots, b.priority, w.cpu, w.memory, w.needs
      from sluice.workload w where w.id = any (workloads) and sluice.workload_at(w.id, b.priority) is null
    on conflict do nothing;
    others := array(select sluice.workload_at(w, b.priority) from unnest(workloads) with ordinality x(w, place) order by place);
    perform sluice.begin_runs(started, workloads, others);
  elsif not exists (select from sluice.dag_run r where r.backfill_id = b.id and r.state = 'running')
        and not exists (select from sluice.dag_run r where r.backfill_id = b.id and r.state = 'queued') then
    ended := true;
    select case when b.state = 'cancelling' then 'cancelled'
                when bool_or(s.state = 'failed') then 'failed'
                when bool_or(s.state = 'cancelled') then 'cancelled'
                else 'success' end
      into becomes from sluice.backfill_slice s where s.backfill_id = b.id;
    update sluice.backfill set state = becomes, paused_by = null, ended_at = sluice.clock() where id = b.id;
    insert into sluice.backfill_event (backfill_id, from_state, to_state, actor) values (b.id, b.state, becomes, 'limits');
  end if;
  -- Also of a backfill that is paused, is being cancelled or has ended.
  if started = '{}' and d.max_active_runs = 1 and not d.missing and sluice.going_runs(d.id, 1) = 0 then
    if own_first then
      yields_to := d.id;
    else
      next_backfill := sluice.next_backfill(d.id, b.id);
    end if;
  end if;
end $$;

-- Inserts queued runs of their DAGs' current versions, as many as are not there yet: a run with a key that has been used is left out.
-- Each is { dag, version, kind, key, logical, start, end, conf, params, actor, schedule, backfill }; `version` is the one that `params`
-- are right for, and a run of another is left out too. Answers those that were made, with their place in `runs` from 1.
create function sluice.queue_runs(runs jsonb) returns table (place bigint, run bigint) language sql as $$
  with wanted as (
    -- Ids in the order in which the runs are given: it is the order in which they start. A look at each one's DAG, and no join: the
    -- planner would expect one row of it, and join what follows row by row.
    select x.*, sluice.new_run_id(x.keep_days) as run_id
      from (select r.ordinality as place, r.value ->> 'dag' as dag_id, sluice.keep_days_of(r.value ->> 'dag') as keep_days, (r.value ->> 'version')::bigint as version_id,
                   r.value ->> 'kind' as kind, r.value ->> 'key' as key, (r.value ->> 'logical')::timestamptz as logical,
                   (r.value ->> 'start')::timestamptz as from_at, (r.value ->> 'end')::timestamptz as to_at,
                   coalesce(r.value -> 'conf', '{}') as conf, r.value -> 'params' as params, r.value ->> 'actor' as actor,
                   (r.value ->> 'schedule')::bigint as schedule_id, (r.value ->> 'backfill')::bigint as backfill_id
              from jsonb_array_elements(runs) with ordinality r
             where (select d.current_version_id = (r.value ->> 'version')::bigint and not d.missing
                      from sluice.dag d where d.id = r.value ->> 'dag')
             order by r.ordinality) x),
  fresh as (
    insert into sluice.run_key (dag_id, kind, key, run_id, request_hash)
    select dag_id, kind, key, run_id, '' from wanted order by dag_id, kind, key
    on conflict do nothing returning run_id),
  made as (
    insert into sluice.dag_run (id, keep_days, dag_id, version_id, state, trigger_kind, logical_date, interval_start, interval_end,
                                conf, params, actor, schedule_id, backfill_id)
    select w.run_id, w.keep_days, w.dag_id, w.version_id, 'queued', w.kind, w.logical, w.from_at, w.to_at, w.conf, w.params, w.actor,
           w.schedule_id, w.backfill_id
      from wanted w join fresh using (run_id)
    returning id, trigger_kind, actor),
  e as (
    insert into sluice.event (run_id, to_state, reason, actor) select id, 'queued', trigger_kind, actor from made)
  select w.place, w.run_id from wanted w join made m on m.id = w.run_id order by w.place
$$;

-- Starts (`runs`, as queue_runs takes them), drops and moves schedules on as was decided by who read them: { id, revision, version,
-- position, last_due, skips, closes (the former definition is done with), next_due, next_at }. One that somebody else has at hand is left to them, and one that has changed
-- since, or whose DAG has, is left out: its revision or its DAG's version is another. Locks schedules, by id, before anything else.
create function sluice.fire_schedules(moves jsonb, runs jsonb, drops jsonb, out moved bigint[], out runs_made jsonb)
language plpgsql as $$
declare
  wanted jsonb;
begin
  with m as (
    select * from jsonb_to_recordset(moves)
      as m(id bigint, revision bigint, version bigint, position timestamptz, last_due timestamptz, skips boolean, closes boolean,
           next_due timestamptz, next_at timestamptz)),
  mine as materialized (
    select s.id from sluice.schedule s join m on m.id = s.id and m.revision = s.revision
     where (select d.current_version_id = m.version and d.paused_by is null and not d.missing
              from sluice.dag d where d.id = s.dag_id)
     order by s.id for update of s skip locked),
  u as (
    update sluice.schedule s
       set revision = s.revision + 1, position = m.position, last_due = m.last_due, next_due = m.next_due, next_at = m.next_at,
           former = case when not m.closes then s.former end, former_to = case when not m.closes then s.former_to end,
           skip_from = case when m.skips then s.skip_from end, skip_to = case when m.skips then s.skip_to end
      from m join mine using (id) where s.id = m.id
    returning s.id)
  select coalesce(array_agg(id), '{}') into moved from u;

  insert into sluice.dropped_runs as d (schedule_id, reason, runs, first_due, last_due)
  select x.id, x.reason, sum(x.runs), min(x.first_due), max(x.last_due)
    from jsonb_to_recordset(drops) as x(id bigint, reason text, runs bigint, first_due timestamptz, last_due timestamptz)
   where x.id = any (moved) group by 1, 2
  on conflict (schedule_id, day, reason) do update
    set runs = d.runs + excluded.runs, first_due = least(d.first_due, excluded.first_due),
        last_due = greatest(d.last_due, excluded.last_due);

  select jsonb_agg(r order by place) into wanted
    from jsonb_array_elements(runs) with ordinality x(r, place)
   where (r ->> 'schedule')::bigint = any (moved)
     -- A backfill may have been there first: while the DAG was paused.
     and not exists (select from sluice.dag_run b
                      where b.dag_id = r ->> 'dag' and b.interval_end = (r ->> 'end')::timestamptz
                        and b.schedule_id = (r ->> 'schedule')::bigint and b.backfill_id is not null);
  select coalesce(jsonb_agg(jsonb_build_object('runId', q.run::text, 'dagId', w.r ->> 'dag') order by q.place), '[]') into runs_made
    from sluice.queue_runs(coalesce(wanted, '[]')) q
    join jsonb_array_elements(wanted) with ordinality w(r, place) using (place);
  delete from sluice.quarantine where duty = 'fire' and key = any (moved::text[]);

  -- Nobody can have changed a DAG meanwhile without its schedules' locks; if somebody has, all of this is done anew.
  if exists (select from jsonb_array_elements(wanted) r left join sluice.dag d on d.id = r ->> 'dag'
              where d.missing or d.current_version_id is distinct from (r ->> 'version')::bigint) then
    raise exception 'a DAG was changed while its schedules were locked' using errcode = 'serialization_failure';
  end if;
end $$;

-- Inserts a run of this version and starts what the DAG's limit has room for, unless another transaction is just doing that. A run
-- for which there is room and that is the only one to start begins at once, without a row that is queued. `run` is null when the
-- version is not the DAG's any more, or its file is gone. With `admits`, which is for a transaction that ends with this call, it
-- admits what the started runs have ready, as `admit_at_once` does; otherwise that is left to the caller, and `again` says whether
-- there may be anything.
create function sluice.start_run(
  of_dag text, of_version bigint, kind text, at timestamptz, from_at timestamptz, to_at timestamptz, conf jsonb, params jsonb, note text,
  who text, tasks_at_once int, admits boolean, out run bigint, out started bigint[], out again boolean, out lanes text[])
language plpgsql as $$
declare
  d sluice.dag;
  has_room boolean := false;
begin
  started := '{}';
  lanes := '{}';
  again := false;
  select * into d from sluice.dag where id = of_dag for no key update skip locked;
  if found then
    -- In a statement that begins after the lock: it sees all that others have started.
    has_room := d.paused_by is null and sluice.going_runs(of_dag, d.max_active_runs) < d.max_active_runs
                and not exists (select from sluice.dag_run r
                                 where r.dag_id = of_dag and r.state = 'queued' and r.backfill_id is null);
  end if;

  insert into sluice.dag_run (id, keep_days, dag_id, version_id, state, trigger_kind, logical_date, interval_start, interval_end,
                              conf, params, note, actor, started_at)
  select sluice.new_run_id(x.keep_days), x.keep_days, of_dag, of_version, case when has_room then 'running' else 'queued' end, kind,
         x.logical, coalesce(from_at, x.logical), coalesce(to_at, x.logical), conf, params, note, who,
         case when has_room then sluice.clock() end
    from (select sluice.keep_days_of(g.id) as keep_days, coalesce(at, sluice.clock()) as logical
            from sluice.dag g where g.id = of_dag and g.current_version_id = of_version and not g.missing) x
  returning id into run;
  if run is null then
    return;
  end if;
  insert into sluice.event (run_id, from_state, to_state, reason, actor)
  select run, e.from_state, e.to_state, e.reason, e.actor
    from (values (null, 'queued', kind, who), ('queued', 'running', null, 'limits')) e(from_state, to_state, reason, actor)
   where has_room or e.to_state = 'queued';
  if has_room then
    started := array[run];
    perform sluice.make_tasks(started, null, null);
  elsif d.id is not null then
    select a.started into started from sluice.activate_runs(of_dag, tasks_at_once, false) a;
  end if;
  again := started <> '{}';
  if admits and again and cardinality(started) <= 10 then
    select a.again, a.lanes into again, lanes from sluice.admit_at_once(sluice.ready_tasks(started)) a;
  end if;
end $$;

-- Starts a run as `start_run` does, admits what it has ready, and, once that is committed, tells the workers of its lanes: all in
-- one round trip, because the caller wants the first task to begin at once. Called outside transactions. `told`: they were told. The
-- second commit must not fail, or the caller would take the run for not started: where the queue of notifications is nearly full or
-- the names are too long for one, telling is left to the caller.
create procedure sluice.trigger_run(
  of_dag text, of_version bigint, kind text, at timestamptz, from_at timestamptz, to_at timestamptz, conf jsonb, params jsonb, note text,
  who text, tasks_at_once int, inout run bigint, inout started bigint[], inout again boolean, inout lanes text[], inout told boolean)
language plpgsql as $$
declare
  message text;
begin
  select s.run, s.started, s.again, s.lanes into run, started, again, lanes
    from sluice.start_run(of_dag, of_version, kind, at, from_at, to_at, conf, params, note, who, tasks_at_once, true) s;
  message := array_to_string(lanes, ',');
  told := message <> '' and octet_length(message) < 7900 and pg_notification_queue_usage() < 0.9;
  if told then
    commit;
    -- It writes nothing that a crash must not lose. Commits with a NOTIFY wait for each other: a lock timeout there is what callers
    -- repeat, and would start a second run.
    perform set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '0', true);
    perform pg_notify('sluice_tasks', message);
  end if;
end $$;

------------------------------------------------------------------------------------------------ trigger rules

-- What becomes of a waiting task, from how many parents it has and how those ended: lib/domain/trigger-rules.ts, which a test
-- compares for all counts. `failed` counts cancelled ones, too. One expression without FROM, so that Postgres inlines it.
create function sluice.rule_verdict(rule text, total int, success int, failed int, upstream_failed int, skipped int) returns text
language sql immutable parallel safe as $$
  select case
    when total = 0 or rule = 'always' then 'ready'
    when rule in ('all_success', 'none_failed', 'none_failed_min_one_success') and failed + upstream_failed > 0 then 'upstream_failed'
    when rule in ('all_success', 'none_skipped', 'all_done_min_one_success') and skipped > 0
      or rule = 'all_failed' and success + skipped > 0
      or rule = 'all_skipped' and success + failed + upstream_failed > 0 then 'skipped'
    when rule = 'one_success' and success > 0
      or rule = 'one_failed' and failed + upstream_failed > 0
      or rule = 'one_done' and success + failed > 0 then 'ready'
    when success + failed + upstream_failed + skipped < total then 'waiting'
    when rule = 'one_success' then case when skipped = total then 'skipped' else 'upstream_failed' end
    when rule = 'all_done_min_one_success' and success = 0 then 'upstream_failed'
    when rule in ('one_failed', 'one_done') or rule = 'none_failed_min_one_success' and success = 0 then 'skipped'
    else 'ready' end
$$;

------------------------------------------------------------------------------------------------ children

-- The children for which the ends of the given tasks count, and how many of their parents end in which
-- way: all children of a success; of a failed or skipped task those whose rule counts such ends.
-- `has_rule`: a child of the same parent has a rule other than all_success. `offset 0` keeps the read of
-- a task's row a search by its whole key, whatever the planner believes of the number of runs.
create function sluice.children_of(ids bigint[], becomes text[])
returns table (id bigint, succeeded int, failed int, skipped int, has_rule boolean)
language sql stable rows 10 as $$
  select (f.id >> 20) << 20 | c.ord, count(*) filter (where f.state = 'success')::int,
         count(*) filter (where f.state = 'failed')::int, count(*) filter (where f.state = 'skipped')::int,
         bool_or(t.counted_children <> '{}')
    from unnest(ids, becomes) f(id, state)
    cross join lateral (select r.version_id from sluice.dag_run r where r.id = f.id >> 20 offset 0) r
    cross join lateral (select t.children, t.counted_children from sluice.dag_task t
                         where t.version_id = r.version_id and t.ord = (f.id & 1048575)::int offset 0) t
    cross join unnest(case f.state when 'success' then t.children else t.counted_children end) c(ord)
   where f.state in ('success', 'failed', 'skipped') group by 1
$$;

------------------------------------------------------------------------------------------------ claims

-- Keys of what no other task may wait for where a child is to continue, or a ready task to be claimed, but for its lane and its worker.
-- One expression without FROM and of immutable parts (a number beside || is not), so that Postgres inlines it.
create function sluice.keys_to_continue(of_dag text, of_pool text, of_group int, is_particular boolean) returns text[]
language sql immutable parallel safe as $$
  select array['group:' || of_group::text, 'dag:' || of_dag, 'run:' || of_dag, 'system', 'pool:' || coalesce(of_pool, ''),
               case when is_particular then 'resources' end]
$$;

-- The class of which a worker may claim what is ready in the lane without admission, or null: where nothing has to be weighed. All
-- that is ready there is of this one class, which asks for no worker, no pool and no resources; no limit counts its tasks; the lane
-- shares its workers with no other; and no task waits for what it takes, but for the lane itself. The oldest of its tasks are then what
-- a pass would admit, whatever slots fall free.
create function sluice.claimable_class(of_lane int) returns int language plpgsql stable as $$
declare
  -- The last, and not the first: the index begins with entries of tasks that are ready no more.
  class constant int := (select t.workload_id from sluice.task_instance t
                          where t.admissible and t.lane_id = of_lane order by t.workload_id desc limit 1);
begin
  -- Each in its order and up to one row, so that the index is searched for it, whatever the planner believes.
  if class is null or (select t.workload_id from sluice.task_instance t
                        where t.admissible and t.lane_id = of_lane and t.workload_id < class
                        order by t.workload_id desc limit 1) is not null then
    return null;
  end if;
  return (
    select w.id
      from sluice.workload w
      join sluice.lane l on l.id = w.lane_id
      join sluice.dag d on d.id = w.dag_id
     where w.id = class and w.pool is null and w.cpu + w.memory = 0 and w.needs = '{}'
       and d.max_active_tasks is null and d.max_active_tasks_per_run is null and not exists (select from sluice.system_limit)
       and not exists (select from sluice.lane o where o.group_id = l.group_id and o.id <> l.id)
       and not exists (select from (select key from sluice.contention union all select key from sluice.lowered_limit) k
                        where k.key = any (sluice.keys_to_continue(w.dag_id, null, l.group_id, false) || ('slot:' || l.group_id)))
       and not exists (select from sluice.workload_wait x where x.workload_id = w.id and x.code <> 'SLOTS_TAKEN')
       -- Its tasks would be passed over one by one.
       and not exists (select from sluice.run_action)
       -- One that cannot be written is found by a pass, and would make each claim fail.
       and not exists (select from sluice.quarantine where duty = 'admit'));
end $$;

-- The oldest ready tasks that this worker may claim without admission, locked, at most so many. Its own slots are all the room that
-- they need: what is handed over and not taken in the lane would come first, but for `besides`, which it has taken. Only where a pass
-- has found that tasks wait for the lane: what became ready since then is its to hand over. Without the admission lock, which would be
-- held until the worker has read what the claim returns: a pass that counts meanwhile may hand over as much more than the window.
create function sluice.claimable_tasks(of_worker text, of_lane int, of_class text, besides bigint[], most int)
returns bigint[] language plpgsql as $$
declare
  class int;
begin
  if not exists (select from sluice.contention where key = 'lane:' || of_lane) then
    return '{}';
  end if;
  select c.class into class from sluice.claimable_class(of_lane) c(class)
   where not exists (select from sluice.contention k where k.key = 'worker:' || of_class || ':' || of_worker)
     and not exists (select from sluice.live_attempt a
                      where a.state = 'queued' and a.assigned_to is null and a.lane_id = of_lane
                        and a.task_instance_id <> all (besides));
  if class is null then
    return '{}';
  end if;
  return array(select t.id from sluice.task_instance t
                where t.admissible and t.lane_id = of_lane and t.workload_id = class and not t.suspect
                  and not exists (select from sluice.run_action a where a.run_id = t.id >> 20)
                order by t.id limit most for update of t skip locked);
end $$;

-- Suspect tasks and a claim: a worker runs one of them at a time, so that its death speaks of that one. `allowed` is the one that this
-- claim may take, the oldest of those that it would pick (as claim_1 does: a change there is one here) while the worker runs none; `barred`
-- are all others that are handed over. Mostly there is none, and one search of a small index says so.
create function sluice.suspects_of_claim(
  of_worker text, of_epoch bigint, queues text[], of_class text, out allowed bigint, out barred bigint[])
language plpgsql as $$
begin
  barred := '{}';
  if not exists (select from sluice.task_instance t where t.suspect and t.state = 'queued') then
    return;
  end if;
  -- First the lock, to the end of the claim: what another claim of this worker takes is seen by the next statement.
  if pg_try_advisory_xact_lock(1936487786, hashtext(of_worker))
     and not exists (
       select from sluice.task_instance t
        cross join lateral (select a.worker_id, a.worker_epoch from sluice.live_attempt a
                             where a.task_instance_id = t.id offset 0) a
        where t.suspect and t.state = 'running' and a.worker_id = of_worker and a.worker_epoch = of_epoch) then
    allowed := (
      select t.id from sluice.task_instance t
       cross join lateral (select a.assigned_to, a.lane_id, a.workload_id from sluice.live_attempt a
                            where a.task_instance_id = t.id and a.state = 'queued' offset 0) a
       where t.suspect and t.state = 'queued'
         and (select r.run_id from sluice.run_action r where r.run_id = t.id >> 20) is null
         and case when a.assigned_to is null
                  then a.lane_id in (select l.id from sluice.lane l where l.queue = any (queues) and l.slot_class = of_class)
                  else a.assigned_to = of_worker and (
                    select w.slot_class = of_class and w.needs <@ k.offers
                      from sluice.workload w, sluice.worker k where w.id = a.workload_id and k.id = of_worker) end
       order by t.id limit 1);
  end if;
  barred := array(select t.id from sluice.task_instance t
                   where t.suspect and t.state = 'queued' and t.id is distinct from allowed);
end $$;

-- `queued` → `running` under the given tokens and a lease, for an active worker only: first what is assigned to it, then its
-- queues in the order given, each in the order in which admission handed it over; at most one for each token. What is then left
-- of the tokens is for tasks that are `ready`, where nothing has to be weighed. `claimed` and `runs`, which are theirs, are all that a
-- worker needs to run them; `left_in` are the queues that hold more than it has taken, because there was no token for it or
-- another transaction holds its rows.
--
-- It never waits: live attempts come first here and last in the lock order, so what another transaction holds is left to the
-- next claim. Nothing of a run with a `run_action` is claimed. Called by lib/db/claims.ts; a change of what goes in or comes
-- out needs another name (CONTRIBUTING.md, "Functions that workers call").
create function sluice.claim_1(
  of_worker text, of_epoch bigint, queues text[], of_class text, tokens uuid[], lease_ms int,
  out claimed json, out runs json, out left_in text[])
language plpgsql as $$
declare
  most int := cardinality(tokens);
  k sluice.worker;
  lane record;
  -- Task instances in the order of the claim, and those of them whose rows are free.
  picked bigint[];
  ours bigint[];
  -- Ready ones, which no admission has handed over.
  fresh bigint[] := '{}';
  -- What was claimed of both, in the order of the claim.
  ids bigint[];
  attempt_ids uuid[];
  their_tokens uuid[];
  numbers int[];
  failures int[];
  has_looks boolean;
  run_ids bigint[];
  begun constant timestamptz := sluice.clock();
  allowed bigint;
  barred bigint[];
begin
  claimed := '[]';
  runs := '[]';
  left_in := '{}';
  select * into k from sluice.worker w where w.id = of_worker and w.epoch = of_epoch and w.state = 'active';
  if not found or most = 0 then
    return;
  end if;

  select s.allowed, s.barred into allowed, barred from sluice.suspects_of_claim(of_worker, of_epoch, queues, of_class) s;
  -- Not what was assigned to an earlier process of this name, which offered more.
  picked := array(
    select a.task_instance_id from sluice.live_attempt a
     where a.state = 'queued' and a.assigned_to = of_worker and a.task_instance_id <> all (barred)
       and (select w.slot_class = of_class and w.needs <@ k.offers from sluice.workload w where w.id = a.workload_id)
       and (select r.run_id from sluice.run_action r where r.run_id = a.task_instance_id >> 20) is null
     order by a.seq limit most for update of a skip locked);
  for lane in select l.id from unnest(queues) with ordinality q(queue, place)
                join sluice.lane l on l.queue = q.queue and l.slot_class = of_class order by q.place loop
    exit when cardinality(picked) >= most;
    picked := picked || array(
      select a.task_instance_id from sluice.live_attempt a
       where a.state = 'queued' and a.assigned_to is null and a.lane_id = lane.id and a.task_instance_id <> all (barred)
         and (select r.run_id from sluice.run_action r where r.run_id = a.task_instance_id >> 20) is null
       order by a.seq limit most - cardinality(picked) for update of a skip locked);
  end loop;

  if picked <> '{}' then
    ours := array(select t.id from sluice.task_instance t
                   where t.id = any (picked) and t.state = 'queued' and (not t.suspect or t.id = allowed)
                   order by t.id for update skip locked);
  end if;
  if cardinality(picked) < most then
    for lane in select l.id from unnest(queues) with ordinality q(queue, place)
                  join sluice.lane l on l.queue = q.queue and l.slot_class = of_class order by q.place loop
      fresh := fresh || sluice.claimable_tasks(of_worker, lane.id, of_class, picked, most - cardinality(picked || fresh));
    end loop;
  end if;
  if ours <> '{}' or fresh <> '{}' then
    with got as (
      update sluice.live_attempt a
         set state = 'running', worker_id = of_worker, worker_epoch = of_epoch, worker_version = k.version,
             token = tokens[width_bucket(a.task_instance_id, ours)],
             started_at = begun, lease_until = begun + lease_ms * interval '1 ms'
       where a.task_instance_id = any (ours)
      returning a.task_instance_id as id, a.id as attempt_id, a.token, a.number, a.seq),
    taken as (
      update sluice.task_instance t
         set state = 'running', started_at = case when t.deferred_id is null then begun else t.started_at end
       where t.id = any (ours)
      returning t.id, t.failures, t.deferred_id is not null as is_look),
    moved as (
      update sluice.task_instance t
         set state = 'running', attempts = t.attempts + case when t.deferred_id is null then 1 else 0 end,
             started_at = case when t.deferred_id is null then begun else t.started_at end
       where t.id = any (fresh)
      returning t.id, t.attempts, t.workload_id, t.lane_id, t.ready_at, t.failures, t.deferred_id,
                array_position(fresh, t.id) as place),
    born as (
      insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at, queued_at, worker_id,
                                       worker_epoch, worker_version, token, started_at, lease_until)
      select m.id, m.attempts, coalesce(m.deferred_id, gen_random_uuid()), 'running', m.workload_id, m.lane_id, m.ready_at, begun,
             of_worker, of_epoch, k.version, tokens[coalesce(cardinality(ours), 0) + m.place], begun,
             begun + lease_ms * interval '1 ms'
        from moved m order by m.place
      returning task_instance_id as id, id as attempt_id, token, number, seq)
    select array_agg(h.id order by h.seq), array_agg(h.attempt_id order by h.seq), array_agg(h.token order by h.seq),
           array_agg(h.number order by h.seq), array_agg(h.failures order by h.seq), bool_or(h.is_look)
      into ids, attempt_ids, their_tokens, numbers, failures, has_looks
      -- Each with its other half: a full join is never made by comparing each with each.
      from (select * from got full join taken using (id)
            union all
            select b.*, m.failures, m.deferred_id is not null from born b full join moved m using (id)) h;
    run_ids := array(select distinct i >> 20 from unnest(ids) i);
    -- What they have of their run is there once for all of its tasks: its conf may be large, and they hundreds.
    select (select json_agg(json_build_object(
                     'runId', r.id::text, 'dagId', r.dag_id, 'bundle', v.bundle, 'conf', r.conf, 'params', r.params,
                     'logicalDate', r.logical_date, 'intervalStart', r.interval_start, 'intervalEnd', r.interval_end,
                     'triggerKind', r.trigger_kind))
              from sluice.dag_run r
              cross join lateral (select v.bundle from sluice.dag_version v where v.id = r.version_id offset 0) v
             where r.id = any (run_ids)),
           (select json_agg(json_build_object(
                     'taskInstanceId', h.id::text, 'attemptId', h.attempt_id, 'token', h.token, 'number', h.number,
                     'taskId', t.task_id, 'task', t.spec, 'failures', h.failures) order by h.at)
              from unnest(ids, attempt_ids, their_tokens, numbers, failures)
                     with ordinality h(id, attempt_id, token, number, failures, at)
              cross join lateral (select r.version_id from sluice.dag_run r where r.id = h.id >> 20 offset 0) r
              -- `offset 0` keeps this a search by the whole key, whatever the planner believes of the number of runs.
              cross join lateral (select t.task_id, t.spec from sluice.dag_task t
                                   where t.version_id = r.version_id and t.ord = (h.id & 1048575)::int offset 0) t)
      into runs, claimed;
    -- Apart, so that claims of first looks need not open the logs.
    if has_looks then
      select json_agg(c.value || jsonb_build_object('look', d.look) order by c.place) into claimed
        from jsonb_array_elements(claimed::jsonb) with ordinality c(value, place)
        left join lateral (
          select jsonb_build_object(
                   'waitedMs', (extract(epoch from sluice.clock() - d.started_at) * 1000)::float8,
                   'logSeq', coalesce((select max(l.seq) + 1 from sluice.task_log l
                                        where l.task_instance_id = d.task_instance_id and l.attempt = d.number), 0),
                   'logBytes', d.log_bytes) as look
            from sluice.deferral d where d.task_instance_id = (c.value ->> 'taskInstanceId')::bigint) d on true;
    end if;
  end if;

  left_in := array(
    select l.queue from sluice.lane l
     where l.queue = any (queues) and l.slot_class = of_class
       -- The first of its order, so that the index of the lane's order is read whatever the planner believes.
       and (select a.seq from sluice.live_attempt a
             where a.state = 'queued' and a.assigned_to is null and a.lane_id = l.id
               and (select r.run_id from sluice.run_action r where r.run_id = a.task_instance_id >> 20) is null
             order by a.seq limit 1) is not null);
end $$;

------------------------------------------------------------------------------------------------ admission

-- Who goes next is decided by lib/domain/admission.ts over what was read without a lock; admit_1 applies it. Every count of a
-- limit below is made in a statement that begins after the lock was granted, so it sees all that others admitted before.

-- Whether all of these tasks together fit beside what is live, whatever their order: then none of them has to be judged alone. Each
-- limit but those of runs and workers is a sum of classes, of which there are few. False also where only an order can tell.
create function sluice.fit_together(ids bigint[], workers text[]) returns boolean language sql stable as $$
  with numbers as (
    select t.workload_id, count(*)::int as wanted, count(*)::int as n
      from sluice.task_instance t where t.id = any (ids) group by 1
    union all
    select a.workload_id, 0, count(*)::int from sluice.live_attempt a group by 1),
  sums as (
    select c.wanted, l.group_id, l.room, l.own_slots, d.max_active_tasks, d.max_active_tasks_per_run, p.slots as pool_size,
           sum(c.n) over () as in_all,
           sum(c.n) over (partition by w.lane_id) as in_lane,
           sum(c.n) over (partition by l.group_id) as in_group,
           sum(c.n) over (partition by w.dag_id) as in_dag,
           case when w.pool is not null then sum(c.n * w.slots) over (partition by w.pool) end as in_pool
      from numbers c
      join sluice.workload w on w.id = c.workload_id
      join sluice.lane l on l.id = w.lane_id
      join sluice.dag d on d.id = w.dag_id
      left join sluice.pool p on p.name = w.pool)
  select array_remove(workers, null) = '{}' and not exists (
    select from sums s
     where s.wanted > 0
       and not (s.in_lane <= s.room
                and (s.in_lane <= s.own_slots or s.in_group <= (select g.group_room from sluice.lane g where g.id = s.group_id))
                and s.in_all <= coalesce((select value from sluice.system_limit where name = 'max_active_tasks'), s.in_all)
                and s.in_dag <= coalesce(s.max_active_tasks, s.in_dag)
                and s.max_active_tasks_per_run is null
                and coalesce(s.in_pool <= s.pool_size, s.in_pool is null)))
$$;

-- These ready task instances, whose rows the caller has locked, become `queued`, each with a new attempt or the one that
-- continues with a look: those of them that every limit has room for beside what is live and what goes before them here. With
-- `counted` false the caller knows that all of them fit. Returns [{ taskInstanceId, lane, runId, assignedTo }], where `lane` is the name to announce.
--
-- What is live and what wants in are rows of one set, summed up in the order of places by whatever limits them: no join of
-- the two, which would be as many steps as their product.
create function sluice.admit_tasks(ids bigint[], workers text[], counted boolean) returns jsonb language plpgsql as $$
declare
  fitting bigint[] := ids;
  their_workers text[] := workers;
  -- The same tasks by their ids, and which place each has in the order.
  sorted bigint[];
  places int[];
  result jsonb;
begin
  if counted and not sluice.fit_together(ids, workers) then
    with wanted as materialized (
      select x.id, x.worker, x.place, t.lane_id, t.run_id, w.dag_id, w.pool, w.slots, w.cpu, w.memory, w.slot_class, l.group_id,
             l.room, l.own_slots, d.max_active_tasks, d.max_active_tasks_per_run, p.slots as pool_size
        from unnest(ids, workers) with ordinality x(id, worker, place)
        cross join lateral (select t.lane_id, t.run_id, t.workload_id from sluice.task_instance t where t.id = x.id offset 0) t
        join sluice.workload w on w.id = t.workload_id
        join sluice.lane l on l.id = t.lane_id
        join sluice.dag d on d.id = w.dag_id
        left join sluice.pool p on p.name = w.pool),
    live as materialized (select a.workload_id, count(*)::int as n from sluice.live_attempt a group by 1),
    at_workers as materialized (
      select coalesce(a.worker_id, a.assigned_to) as worker, w.slot_class, count(*)::int as n, sum(w.cpu)::int as cpu,
             sum(w.memory)::int as memory
        from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
       where exists (select from wanted where worker is not null)
         and coalesce(a.worker_id, a.assigned_to) in (select worker from wanted)
       group by 1, 2),
    rows as (
      select place, id, worker, lane_id, group_id, dag_id, pool, run_id, slot_class, 1 as n, slots, 1 as n_of_run, 1 as n_of_worker,
             cpu, memory, room, own_slots, max_active_tasks, max_active_tasks_per_run, pool_size
        from wanted
      union all
      select 0, null, null, w.lane_id, l.group_id, w.dag_id, w.pool, null, null, live.n, live.n * w.slots, 0, 0, 0, 0,
             null, null, null, null, null
        from live join sluice.workload w on w.id = live.workload_id join sluice.lane l on l.id = w.lane_id
      union all
      select 0, null, null, null, null, null, null, r.run_id, null, 0, 0,
             (select count(*)::int from sluice.live_attempt a
               where a.task_instance_id >= r.run_id << 20 and a.task_instance_id < (r.run_id + 1) << 20), 0, 0, 0,
             null, null, null, null, null
        from (select distinct run_id from wanted where max_active_tasks_per_run is not null) r
      union all
      select 0, null, worker, null, null, null, null, null, slot_class, 0, 0, 0, n, cpu, memory,
             null, null, null, null, null from at_workers),
    -- With all that a task is judged by in its own row: a join of two large sets may be one row by row.
    sums as (
      select id, worker, place, slot_class, group_id, pool, room, own_slots, max_active_tasks, max_active_tasks_per_run,
             pool_size,
             sum(n) over (order by place) as in_all,
             sum(n) over (partition by lane_id order by place) as in_lane,
             sum(n) over (partition by group_id order by place) as in_group,
             sum(n) over (partition by dag_id order by place) as in_dag,
             sum(slots) over (partition by pool order by place) as in_pool,
             sum(n_of_run) over (partition by run_id order by place) as in_run,
             sum(n_of_worker) over (partition by worker, slot_class order by place) as at_worker,
             sum(cpu) over (partition by worker order by place) as cpu,
             sum(memory) over (partition by worker order by place) as memory
        from rows)
    select array_agg(s.id order by s.place), array_agg(s.worker order by s.place) into fitting, their_workers
      from sums s
      left join sluice.worker k on k.id = s.worker
     where s.id is not null
       and s.in_lane <= s.room
       and (s.in_lane <= s.own_slots or s.in_group <= (select g.group_room from sluice.lane g where g.id = s.group_id))
       and s.in_all <= coalesce((select value from sluice.system_limit where name = 'max_active_tasks'), s.in_all)
       and s.in_dag <= coalesce(s.max_active_tasks, s.in_dag)
       and s.in_run <= coalesce(s.max_active_tasks_per_run, s.in_run)
       and (s.pool is null or s.in_pool <= s.pool_size)
       and (s.worker is null
            or k.state = 'active' and s.cpu <= k.cpu and s.memory <= k.memory
               and s.at_worker <= case s.slot_class when 'process' then k.process_slots + greatest(1, k.process_slots / 4)
                                                    when 'function' then k.function_slots + greatest(1, k.function_slots / 4)
                                                    else k.inline_slots + greatest(1, k.inline_slots / 4) end);
  end if;
  if fitting is null then
    return '[]';
  end if;

  -- Places by id, so that no two sets are joined: `places[width_bucket(id, sorted)]` is where a task stands in the order.
  select array_agg(x.id order by x.id), array_agg(x.place order by x.id) into sorted, places
    from unnest(fitting) with ordinality x(id, place);
  with v as materialized (select sorted as ids),
  moved as (
    update sluice.task_instance t
       set state = 'queued', attempts = t.attempts + case when t.deferred_id is null then 1 else 0 end
     -- Not "admissible": the planner might then read all that is ready, by its index, where it should search for each.
      from v where t.id = any (sorted) and t.state = 'ready' and not t.held and not t.waits_apart
    returning t.id, t.attempts, t.workload_id, t.lane_id, t.ready_at, t.deferred_id, places[width_bucket(t.id, v.ids)] as place),
  born as (
    insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at, assigned_to)
    select id, attempts, coalesce(deferred_id, gen_random_uuid()), 'queued', workload_id, lane_id, ready_at, their_workers[place]
      from moved order by place
    returning task_instance_id, id, lane_id, assigned_to, seq)
  select coalesce(jsonb_agg(jsonb_build_object(
           'taskInstanceId', b.task_instance_id::text,
           'lane', coalesce('@' || b.assigned_to, l.queue || '.' || l.slot_class), 'runId', (b.task_instance_id >> 20)::text,
           'assignedTo', b.assigned_to) order by b.seq), '[]')
    into result
    from born b cross join lateral (select l.queue, l.slot_class from sluice.lane l where l.id = b.lane_id offset 0) l;
  return result;
end $$;

-- How a lane's clock moves on with one more task of this priority: as `advanceClock` of lib/domain/lane-clock.ts does, with which a
-- property test compares it. `state` is null before the first task; then the clock [time, high, medium, low] is `clock`.
create function sluice.advance_clock(state bigint[], clock bigint[], priority text) returns bigint[] language plpgsql immutable as $$
declare
  now bigint[] := coalesce(state, clock);
  at int := case priority when 'high' then 2 when 'medium' then 3 else 4 end;
  start bigint := greatest(now[1], now[at]);
begin
  now[1] := start;
  now[at] := start + case priority when 'high' then 1 when 'medium' then 4 else 16 end;
  return now;
end $$;
create aggregate sluice.clock_after(bigint[], text) (sfunc = sluice.advance_clock, stype = bigint[]);

-- Admits these tasks as admit_tasks does, but for those that cannot be written: they are found by halves, so that one of them
-- keeps none of the others from being admitted. `failed` [{ key, error }] names them. At most ten are looked for in a call; what is
-- beside these is ready for the next one, which leaves them out. Where nothing at all can be written no task is blamed: then
-- it fails.
create function sluice.admit_apart(ids bigint[], workers text[], out born jsonb, out failed jsonb) language plpgsql as $$
declare
  -- Ranges of places that are still to be admitted, the next one last.
  froms int[] := array[1];
  tos int[] := array[cardinality(ids)];
  a int;
  z int;
begin
  born := '[]';
  failed := '[]';
  while cardinality(froms) > 0 loop
    a := froms[cardinality(froms)];
    z := tos[cardinality(tos)];
    froms := trim_array(froms, 1);
    tos := trim_array(tos, 1);
    begin
      born := born || sluice.admit_tasks(ids[a:z], workers[a:z], true);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error then
      if jsonb_array_length(failed) >= 10 then
        continue;
      elsif a = z then
        failed := failed || jsonb_build_object('key', ids[a]::text, 'error', sqlerrm);
      else
        froms := froms || ((a + z) / 2 + 1) || a;
        tos := tos || z || (a + z) / 2;
      end if;
    end;
  end loop;
  if born = '[]' and jsonb_array_length(failed) > 1
     and (select count(distinct f ->> 'error') from jsonb_array_elements(failed) f) = 1 then
    raise exception '%', failed -> 0 ->> 'error';
  end if;
end $$;

-- Applies what a full pass has decided, in one call. `plan`:
--   term    of the lease by which the caller leads admission; null for one that leads nothing
--   grants  [{ class, run, at, workers }]: as many of the oldest ready tasks of the class (in the run, where one is named) as there
--           are places in `at`; `workers` names the worker of each, where it is a certain one
--   apart   [id]: tasks in quarantine
--   lanes   [{ id, slots, room, group, group_room, own_slots }]: lanes of which any of that has changed
--   waits   [{ id, code, detail, on }]: classes whose reason is to be written; gone [id]: those that wait no more
--   contended, free [key]: keys of sluice.contention to insert and to delete
--   counted [{ key, version }]: lowered limits by which it has counted what is live
-- Returns { attempts, granted, at, failed, unsaid, isFenced }: what was admitted, how many were to be, when, in milliseconds, and
-- which tasks and which classes' reasons could not be written, as [{ key, error }]. Fenced: another one leads, and nothing was done.
create function sluice.admit_1(plan jsonb) returns jsonb language plpgsql as $$
declare
  picked bigint[];
  their_workers text[];
  apart bigint[] := array(select e::bigint from jsonb_array_elements_text(plan -> 'apart') e);
  born jsonb := '[]';
  admitted bigint[];
  failed jsonb := '[]';
  unsaid jsonb;
begin
  -- Any number that no other user of advisory locks in this database takes: "slui" in ASCII. Held to the end of the transaction.
  perform pg_advisory_xact_lock(1936487785);

  -- A leader that was stopped continues with what it decided then. Counts would hold, but rooms, reasons and keys would be of then.
  if plan ->> 'term' is not null
     and not exists (select from sluice.lease where name = 'admission' and term = (plan ->> 'term')::int) then
    return jsonb_build_object('attempts', born, 'granted', 0, 'at', 0, 'failed', failed, 'unsaid', '[]'::jsonb,
                              'isFenced', true);
  end if;

  update sluice.lane l
     set slots = x.slots, room = x.room, group_id = x."group", group_room = x.group_room, own_slots = x.own_slots
    from jsonb_to_recordset(plan -> 'lanes') as x(id int, slots int, room int, "group" int, group_room int, own_slots int)
   where l.id = x.id;

  if plan -> 'grants' <> '[]' then
    -- An element of a JSON array is found by counting from its start, one of an array of integers at once.
    with g as materialized (
      select g.class, g.run, g.workers,
             array(select e.at::int from jsonb_array_elements_text(g.at) with ordinality e(at, n) order by e.n) as at,
             exists (select from jsonb_array_elements_text(g.workers) e(worker) where e.worker is not null) as binds
        from jsonb_to_recordset(plan -> 'grants') as g(class int, run bigint, at jsonb, workers jsonb))
    -- `offset 0`: what is sorted is a number, and not the whole array that it is from.
    select array_agg(r.id order by r.at), array_agg(r.worker order by r.at) into picked, their_workers
      from (
        select t.id, g.at[t.nth] as at, case when g.binds then g.workers ->> (t.nth - 1)::int end as worker
          from g
          join sluice.workload w on w.id = g.class
          cross join lateral (
            select p.id, row_number() over (order by p.id) as nth
              from (select t.id from sluice.task_instance t
                     where t.admissible and t.lane_id = w.lane_id and t.workload_id = g.class and t.id <> all (apart)
                       and not exists (select from sluice.run_action a where a.run_id = t.run_id)
                     order by t.id limit cardinality(g.at) for update of t skip locked) p) t
         where g.run is null
        -- Apart: with a range of ids that may be all, the planner reads task instances by id instead of what is ready.
        union all
        select t.id, g.at[t.nth], case when g.binds then g.workers ->> (t.nth - 1)::int end
          from g
          join sluice.workload w on w.id = g.class
          cross join lateral (
            select p.id, row_number() over (order by p.id) as nth
              from (select t.id from sluice.task_instance t
                     where t.admissible and t.lane_id = w.lane_id and t.workload_id = g.class
                       and t.id >= g.run << 20 and t.id < (g.run + 1) << 20 and t.id <> all (apart)
                       and not exists (select from sluice.run_action a where a.run_id = g.run)
                     order by t.id limit cardinality(g.at) for update of t skip locked) p) t
         where g.run is not null
        offset 0) r;
    if picked is not null then
      select x.born, x.failed into born, failed from sluice.admit_apart(picked, their_workers) x;
      -- By an array: a join with values of JSON may be one of each with each.
      admitted := array(select (b ->> 'taskInstanceId')::bigint from jsonb_array_elements(born) b);
      -- Clocks move by what was admitted, not by what was decided: a priority whose tasks were refused has had nothing.
      update sluice.lane l
         set time = x.clock[1], high = x.clock[2], medium = x.clock[3], low = x.clock[4]
        from (select a.lane_id,
                     sluice.clock_after(array[k.time, k.high, k.medium, k.low], w.priority order by a.seq) as clock
                from sluice.live_attempt a
                join sluice.workload w on w.id = a.workload_id
                join sluice.lane k on k.id = a.lane_id
               where a.task_instance_id = any (admitted)
               group by a.lane_id) x
       where l.id = x.lane_id;
      -- Who publishes a DAG may have its classes' rows: theirs keep their time.
      update sluice.workload w set last_admitted_at = sluice.clock()
       where w.id = any (array(
         select p.id from sluice.workload p
          where p.id = any (array(select distinct a.workload_id from sluice.live_attempt a
                                   where a.task_instance_id = any (admitted)))
          order by p.id for no key update skip locked));
    end if;
  end if;

  unsaid := sluice.note_waits_apart(plan -> 'waits', plan -> 'gone');
  delete from sluice.lowered_limit
   where key = any (array(select l.key from sluice.lowered_limit l
                            join jsonb_to_recordset(plan -> 'counted') as c(key text, version text)
                              on c.key = l.key and c.version = l.xmin::text
                             for update of l skip locked));
  delete from sluice.contention where key in (select jsonb_array_elements_text(plan -> 'free'));
  insert into sluice.contention (key) select jsonb_array_elements_text(plan -> 'contended') on conflict do nothing;
  return jsonb_build_object('attempts', born, 'granted', coalesce(cardinality(picked), 0),
                            'at', date_part('epoch', sluice.clock()) * 1000, 'failed', failed, 'unsaid', unsaid,
                            'isFenced', false);
end $$;

-- Writes reasons as note_waits does, class by class where one of them cannot be written; returns those [{ key, error }].
create function sluice.note_waits_apart(waits jsonb, gone jsonb) returns jsonb language plpgsql as $$
declare
  one jsonb;
  failed jsonb := '[]';
begin
  begin
    perform sluice.note_waits(waits, gone);
    return failed;
  exception when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error then
    null;
  end;
  for one in select jsonb_build_array(w) from jsonb_array_elements(waits) w loop
    begin
      perform sluice.note_waits(one, '[]');
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error then
      failed := failed || jsonb_build_object('key', one -> 0 ->> 'id', 'error', sqlerrm);
    end;
  end loop;
  for one in select jsonb_build_array(g) from jsonb_array_elements(gone) g loop
    begin
      perform sluice.note_waits('[]', one);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error then
      failed := failed || jsonb_build_object('key', one ->> 0, 'error', sqlerrm);
    end;
  end loop;
  return failed;
end $$;

-- Writes why classes wait, and a span for each reason that is over. What lasted for less than a second is no span: under load a
-- class waits a moment many times a second.
create function sluice.note_waits(waits jsonb, gone jsonb) returns void language plpgsql as $$
begin
  if waits = '[]' and gone = '[]' then
    return;
  end if;
  with w as (select * from jsonb_to_recordset(waits) as w(id int, code text)),
  ended as (
    select x.* from sluice.workload_wait x
     where x.workload_id in (select value::int from jsonb_array_elements_text(gone))
        or exists (select from w where w.id = x.workload_id and w.code <> x.code))
  insert into sluice.wait_span (workload_id, code, detail, from_at, to_at)
  select workload_id, code, detail, since, sluice.clock() from ended where since < sluice.clock() - interval '1 s'
  on conflict do nothing;
  delete from sluice.workload_wait where workload_id in (select value::int from jsonb_array_elements_text(gone));
  insert into sluice.workload_wait (workload_id, code, detail, blocked_on)
  select w.id, w.code, w.detail, w."on" from jsonb_to_recordset(waits) as w(id int, code text, detail jsonb, "on" text[])
  on conflict (workload_id) do update
    set code = excluded.code, detail = excluded.detail, blocked_on = excluded.blocked_on, detail_at = sluice.clock(),
        since = case when workload_wait.code = excluded.code then workload_wait.since else sluice.clock() end;
end $$;

-- What these runs have ready, at most 101 tasks of each. By the key and not by "admissible", whose index holds what all runs have ready.
create function sluice.ready_tasks(runs bigint[]) returns bigint[] language sql stable as $$
  select array_agg(t.id)
    from unnest(runs) r(id)
   cross join lateral (select t.id from sluice.task_instance t
                        where t.id >= r.id << 20 and t.id < (r.id + 1) << 20 and t.state = 'ready' and not t.held and not t.waits_apart
                        order by t.id limit 101) t
$$;

-- Admits a task as `admit_at_once` does without a lock, where nothing has to be counted; returns its lane, or null where it is for
-- the general way. One task is the usual case: of a trigger, and of a child that does not continue. The statements of the general
-- way, of some fifty plan nodes, take five times as long to start.
create function sluice.admit_one(task bigint) returns text language plpgsql as $$
declare
  t record;
begin
  select x.attempts, x.deferred_id, x.workload_id, x.lane_id, x.ready_at, l.queue || '.' || l.slot_class as lane into t
    from sluice.task_instance x
    join sluice.workload w on w.id = x.workload_id
    join sluice.lane l on l.id = x.lane_id
    join sluice.dag d on d.id = w.dag_id
   where x.id = task and x.admissible
     and w.pool is null and w.cpu + w.memory = 0 and w.needs = '{}'
     and d.max_active_tasks is null and d.max_active_tasks_per_run is null and not exists (select from sluice.system_limit)
     -- What is handed over and not taken is within the window of a lane that shares its workers with no other.
     and not exists (select from sluice.lane o where o.group_id = l.group_id and o.id <> l.id)
     and l.room - l.slots > (select count(*) from (select from sluice.live_attempt a
                                                    where a.lane_id = l.id and a.state = 'queued' and a.assigned_to is null
                                                    limit l.room - l.slots) q)
     and not exists (select from sluice.contention k
                      where k.key = any (array['lane:' || l.id, 'group:' || l.group_id, 'slot:' || l.group_id, 'dag:' || w.dag_id,
                                               'run:' || w.dag_id, 'system']))
     and not exists (select from sluice.run_action a where a.run_id = task >> 20)
     and exists (select from sluice.worker k
                  where k.state = 'active' and k.lease_until > (select sluice.clock()) and l.queue = any (k.queues))
     for update of x skip locked;
  if not found then
    return null;
  end if;
  update sluice.task_instance
     set state = 'queued', attempts = t.attempts + case when t.deferred_id is null then 1 else 0 end
   where id = task;
  insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at)
  values (task, t.attempts + case when t.deferred_id is null then 1 else 0 end, coalesce(t.deferred_id, gen_random_uuid()), 'queued',
          t.workload_id, t.lane_id, t.ready_at);
  return t.lane;
end $$;

-- Admits these tasks, which the caller's transaction has just made ready, where that takes nothing from what waits: their
-- lanes have room, and no task waits for their lane, pool, DAG, run or the system. Without a lock only where there is no pool, no
-- limit of the DAG, its runs or the system. Otherwise the admission lock is taken if it is
-- free, and every limit counted in a later statement. A task that asks for a certain worker is left to a full pass, and so are
-- all but the first hundred: a pass takes many for the price of one.
-- `again`: some of the tasks are still ready, and a full pass is wanted after the commit. `lanes`: those whose workers are to hear
-- of it after the commit. A task that cannot be written is no reason for the caller's own work to fail: all are left to a full
-- pass, which sets that one apart.
create function sluice.admit_at_once(tasks bigint[], out again boolean, out lanes text[]) language plpgsql as $$
declare
  mine bigint[];
  plain bigint[];
  limited bigint[];
  others int;
  exact boolean;
  born jsonb;
begin
  lanes := '{}';
  if cardinality(tasks) = 1 then
    begin
      lanes := array_remove(array[sluice.admit_one(tasks[1])], null);
    exception
      when data_exception or integrity_constraint_violation or program_limit_exceeded or raise_exception then
        again := true;
        return;
    end;
    again := false;
    if lanes <> '{}' then
      return;
    end if;
  end if;
  -- The caller has them already, where it has just made them ready in this transaction.
  mine := array(select t.id from sluice.task_instance t
                 where t.id = any (tasks) and t.admissible order by t.id limit 101 for update skip locked);
  select array_agg(x.id order by x.id) filter (where x.is_plain), array_agg(x.id order by x.id) filter (where not x.is_plain),
         count(*) filter (where x.is_left)
    into plain, limited, others
    from (
      select c.id, c.is_left or c.is_blocked as is_left,
             case when not c.is_left and not c.is_blocked then c.is_plain end as is_plain
        from (
          select t.id, w.cpu + w.memory > 0 or w.needs <> '{}' or l.room = 0
                   or not exists (select from sluice.worker k
                                   where k.state = 'active' and k.lease_until > (select sluice.clock()) and l.queue = any (k.queues))
                   or exists (select from sluice.run_action a where a.run_id = t.run_id) as is_left,
                 exists (select from sluice.contention k
                          where k.key = any (array['lane:' || l.id, 'group:' || l.group_id, 'slot:' || l.group_id, 'dag:' || w.dag_id,
                                                   'run:' || w.dag_id, 'system', 'pool:' || coalesce(w.pool, '')])) as is_blocked,
                 w.pool is null and d.max_active_tasks is null and d.max_active_tasks_per_run is null
                   and not exists (select from sluice.system_limit) as is_plain
            from sluice.task_instance t
            join sluice.workload w on w.id = t.workload_id
            join sluice.lane l on l.id = t.lane_id
            join sluice.dag d on d.id = w.dag_id
           where t.id = any (mine[:100]) and t.admissible) c) x;
  again := others > 0 or cardinality(mine) > 100;
  if limited is not null and not pg_try_advisory_xact_lock(1936487785) then
    again := true;
    limited := null;
  end if;
  if plain is null and limited is null then
    return;
  end if;
  -- What is handed over and not taken is within the window: then there is room, whatever runs, and nothing has to be counted.
  exact := limited is not null or exists (
    select from (select t.lane_id, count(*) as n from sluice.task_instance t where t.id = any (plain) group by 1) x
      join sluice.lane l on l.id = x.lane_id
     -- Lanes that share workers share their room: what is handed over in the others is not counted here.
     where exists (select from sluice.lane o where o.group_id = l.group_id and o.id <> l.id)
        or x.n > l.room - l.slots - (select count(*) from (select from sluice.live_attempt a
                                                            where a.lane_id = l.id and a.state = 'queued' and a.assigned_to is null
                                                            limit l.room - l.slots) q));
  begin
    born := sluice.admit_tasks(plain || limited, array_fill(null::text, array[cardinality(plain || limited)]), exact);
  exception
    when data_exception or integrity_constraint_violation or program_limit_exceeded or raise_exception then
      again := true;
      return;
  end;
  again := again or jsonb_array_length(born) < cardinality(plain || limited);
  lanes := array(select distinct a ->> 'lane' from jsonb_array_elements(born) a);
end $$;

-- Which of these children (their classes, and the workers of their parents, at the same places) may continue in the slot of a parent
-- of the same class and run: those that take nothing from what waits. No task waits for their pool, DAG, run or the system, for the
-- group of their lane, or for a slot of this very worker; none of their limits was lowered since it was last counted; nothing
-- of another class waits for the lane, ready or handed over and not taken; and no older task of their own class is ready or handed
-- over, since the oldest goes first. Its cost depends neither on what is ready nor on what is live.
create function sluice.may_continue(tasks bigint[], classes int[], workers text[]) returns bigint[] language sql stable as $$
  -- Judged class by class: a batch may end hundreds of attempts of one.
  with open as materialized (
    select w.id as class, l.slot_class,
           least((select t.id from sluice.task_instance t
                   where t.admissible and t.lane_id = w.lane_id and t.workload_id = w.id order by t.id limit 1),
                 (select a.task_instance_id from sluice.live_attempt a
                   where a.state = 'queued' and a.lane_id = w.lane_id and a.workload_id = w.id
                   order by a.task_instance_id limit 1)) as oldest
      from (select distinct c.class from unnest(classes) c(class)) g
      join sluice.workload w on w.id = g.class
      join sluice.lane l on l.id = w.lane_id
     where not exists (select from (select key from sluice.contention union all select key from sluice.lowered_limit) k
                        where k.key = any (sluice.keys_to_continue(w.dag_id, w.pool, l.group_id,
                                                                   w.cpu + w.memory > 0 or w.needs <> '{}')))
       and not exists (select from sluice.workload_wait x where x.workload_id = w.id and x.code <> 'SLOTS_TAKEN')
       -- Each a search by index, however much of the class itself is there.
       and not exists (select from sluice.live_attempt a
                        where a.state = 'queued' and a.lane_id = w.lane_id and a.workload_id < w.id)
       and not exists (select from sluice.live_attempt a
                        where a.state = 'queued' and a.lane_id = w.lane_id and a.workload_id > w.id)
       and (not exists (select from sluice.contention k where k.key = 'lane:' || l.id)
            or not exists (select from sluice.task_instance t
                            where t.admissible and t.lane_id = w.lane_id and t.workload_id < w.id)
               and not exists (select from sluice.task_instance t
                                where t.admissible and t.lane_id = w.lane_id and t.workload_id > w.id)))
  select coalesce(array_agg(g.id), '{}')
    from unnest(tasks, classes, workers) g(id, class, worker)
    join open o on o.class = g.class
   where not exists (select from sluice.contention k where k.key = 'worker:' || o.slot_class || ':' || g.worker)
     and g.id < coalesce(o.oldest, 9223372036854775807)
$$;

-- What waits for what tasks of these classes take: lanes of theirs that are full, and whether it is anything else. When one of them
-- ends, a full pass is wanted.
create function sluice.waited_for(classes int[], out lanes int[], out others boolean) language sql stable as $$
  select coalesce(array_agg(distinct l.id) filter (where k.key = 'lane:' || l.id), '{}'),
         coalesce(bool_or(k.key <> 'lane:' || l.id), false)
    from (select distinct c.class from unnest(classes) c(class)) g
    join sluice.workload w on w.id = g.class
    join sluice.lane l on l.id = w.lane_id
    join sluice.contention k
      on k.key = any (array['lane:' || l.id, 'group:' || l.group_id, 'dag:' || w.dag_id, 'run:' || w.dag_id, 'system',
                            'pool:' || coalesce(w.pool, ''), 'resources'])
$$;

------------------------------------------------------------------------------------------------ the end of attempts

-- What ends of attempts have changed.
create type sluice.ended as (
  -- Task instances whose end was accepted, and those of runs that another transaction had locked.
  accepted bigint[],
  busy bigint[],
  -- Runs of which the rules of waiting tasks must be judged, and those in which nothing is open any more.
  unsettled bigint[],
  closing bigint[],
  -- Children that became ready and did not continue; null when there are none.
  made_ready bigint[],
  -- The task classes of the attempts that ended, when a slot fell free.
  freed int[],
  has_callbacks boolean,
  -- The children that continue, as their worker is told of them.
  continued jsonb
);

-- A step of a chain: ends an attempt that succeeded, of a task with at most one child, which waits for successes only.
-- Null, and nothing is written, when the task is another, or its run is locked: then it is for `end_attempts`.
--
-- It writes the same rows as `end_attempts`. That one works on sets: the start of its statements, of some sixty plan nodes,
-- takes more processor time than the writing. These statements are about one row each.
create function sluice.end_step(
  task bigint, its_token uuid, its_reason text, its_exit_code int, its_error text, peak bigint, its_cpu_ms bigint, xcoms jsonb,
  xcom_ttl_ms bigint, next_id uuid, next_token uuid, lease_ms int)
returns sluice.ended language plpgsql as $$
declare
  of_run constant bigint := task >> 20;
  of_version bigint;
  child_ord int;
  child bigint;
  own record;
  kid sluice.task_instance;
  a sluice.live_attempt;
  at timestamptz;
  is_unlocked boolean := false;
  goes_on boolean := false;
  continued jsonb;
  progress record;
begin
  select r.version_id, t.children[1] into of_version, child_ord
    from sluice.dag_run r
    join sluice.dag_task t on t.version_id = r.version_id and t.ord = (task & 1048575)::int
   where r.id = of_run and t.counted_children = '{}' and t.calls = '{}' and cardinality(t.children) < 2
     for key share of r skip locked;
  if not found then
    return null;
  end if;
  child := of_run << 20 | child_ord;
  -- In the order of their ids.
  if child < task then
    select * into kid from sluice.task_instance where id = child for update;
  end if;
  select deferred_id into own from sluice.task_instance where id = task for update;
  if own.deferred_id is not null then
    return null;
  end if;
  if child > task then
    select * into kid from sluice.task_instance where id = child for update;
  end if;

  -- Not locked: whoever takes it from its worker has the lock of its task, and a heartbeat changes nothing of what is read.
  select * into a from sluice.live_attempt l where l.task_instance_id = task and l.token = its_token and l.state = 'running';
  if not found then
    return row('{}'::bigint[], '{}'::bigint[], '{}'::bigint[], '{}'::bigint[], null::bigint[], null::int[], false, null::jsonb);
  end if;
  at := sluice.clock();
  -- Only what waits is counted for: a child that has started may see its parent succeed once more.
  if child is not null then
    if kid.state <> 'waiting' then
      child := null;
    else
      is_unlocked := kid.open_parents = 1;
    end if;
  end if;
  -- As `end_attempts` decides what continues.
  if is_unlocked and not kid.held and next_id is not null and kid.workload_id = a.workload_id then
    goes_on := exists (select from sluice.worker k where k.id = a.worker_id and k.epoch = a.worker_epoch and k.state = 'active')
               and not exists (select from sluice.run_action x where x.run_id = of_run);
    if goes_on and (exists (select from sluice.contention where key = 'lane:' || a.lane_id)
                    or exists (select from sluice.live_attempt where state = 'queued' and lane_id = a.lane_id)) then
      goes_on := sluice.may_continue(array[child], array[a.workload_id], array[a.worker_id]) <> '{}';
    elsif goes_on and (exists (select from sluice.contention) or exists (select from sluice.lowered_limit)) then
      -- What of that is left where nothing waits for the lane.
      goes_on := not exists (
        select from sluice.workload w
          join sluice.lane l on l.id = w.lane_id
          join (select key from sluice.contention union all select key from sluice.lowered_limit) k
            on k.key = any (sluice.keys_to_continue(w.dag_id, w.pool, l.group_id, w.cpu + w.memory > 0 or w.needs <> '{}')
                            || ('worker:' || l.slot_class || ':' || a.worker_id))
         where w.id = a.workload_id);
    end if;
  end if;

  insert into sluice.attempt
    (task_instance_id, number, id, state, reason, exit_code, error, worker_id, worker_version, ready_at, queued_at, started_at,
     peak_memory, cpu_ms, ended_at)
  values (task, a.number, a.id, 'success', its_reason, its_exit_code, its_error, a.worker_id, a.worker_version, a.ready_at,
          a.queued_at, a.started_at, peak, its_cpu_ms, at);
  update sluice.task_instance t
     set state = case when t.id = task then 'success' when goes_on then 'running' when is_unlocked then 'ready' else t.state end,
         open_parents = case when t.id = task then t.open_parents else t.open_parents - 1 end,
         attempts = case when goes_on and t.id = child then t.attempts + 1 else t.attempts end,
         started_at = case when goes_on and t.id = child then at else t.started_at end,
         ready_at = case when is_unlocked and not goes_on and t.id = child then at else t.ready_at end,
         ended_at = case when t.id = task then at end
   where t.id = any (array[task, child]);
  if goes_on then
    -- The row of the attempt that ended becomes that of its child's: the same class, lane and worker.
    update sluice.live_attempt l
       set task_instance_id = child, number = kid.attempts + 1, id = next_id, token = next_token, ready_at = at, queued_at = at,
           started_at = at, lease_until = at + lease_ms * interval '1 ms', heartbeat_at = null, assigned_to = null
     where l.task_instance_id = task;
    select jsonb_build_array(jsonb_build_object(
             'afterId', task::text, 'taskInstanceId', child::text, 'attemptId', next_id, 'token', next_token,
             'number', kid.attempts + 1, 'failures', kid.failures, 'taskId', t.task_id, 'task', t.spec))
      into continued from sluice.dag_task t where t.version_id = of_version and t.ord = child_ord;
  else
    delete from sluice.live_attempt l where l.task_instance_id = task;
  end if;
  if a.number = 1 and xcom_ttl_ms is null and xcoms ? 'return_value' and xcoms - 'return_value' = '{}' then
    -- Mostly an output and nothing else, and no earlier attempt has left one: half of the price.
    insert into sluice.xcom (task_instance_id, key, value, bytes, created_at)
    values (task, 'return_value', xcoms -> 'return_value', octet_length((xcoms -> 'return_value')::text), at);
  elsif xcoms is not null then
    insert into sluice.xcom (task_instance_id, key, value, bytes, expires_at)
    select task, x.key, x.value, octet_length(x.value::text), at + xcom_ttl_ms * interval '1 ms' from jsonb_each(xcoms) x
    on conflict (task_instance_id, key) do update
      set value = excluded.value, bytes = excluded.bytes, created_at = at, expires_at = excluded.expires_at;
  end if;
  update sluice.run_progress p
     set open = p.open - 1, unsettled = p.unsettled and p.open > 1
   where p.run_id = of_run
  returning p.open = 0 as closes, p.unsettled into progress;
  return row(array[task], '{}'::bigint[], case when progress.unsettled then array[of_run] else '{}' end,
             case when progress.closes then array[of_run] else '{}' end,
             case when is_unlocked and not goes_on then array[child] end,
             case when not goes_on then array[a.workload_id] end, false, continued);
end $$;

-- Ends a batch of attempts, whatever they are. Arrays of one length are one set.
--
-- A function and not a statement, because most of it is needed only now and then. Each statement sees what was committed
-- before its locks were granted.
create function sluice.end_attempts(
  ids bigint[], tokens uuid[], ends text[], reasons text[], exit_codes int[], error_texts text[], peaks bigint[], cpus_ms bigint[],
  xcoms jsonb[], xcom_ttls_ms bigint[], delays_ms bigint[], logs_bytes bigint[], next_ids uuid[], next_tokens uuid[], who text,
  lease_ms int)
returns sluice.ended language plpgsql as $$
declare
  accepted bigint[];
  busy bigint[] := '{}';
  unsettled bigint[];
  has_callbacks boolean := false;
  continued jsonb;
  runs bigint[];
  -- What a task becomes is its end, or `retrying` or `ready` when it is tried again, in the order given.
  fates text[] := array(
    select case when e.state = 'deferred' then 'deferred' when e.delay_ms > 0 then 'retrying'
                when e.delay_ms = 0 then 'ready' else e.state end
      from unnest(ends, delays_ms) with ordinality e(state, delay_ms, at) order by e.at);
  -- Among the tasks are some whose attempt said "not yet" before.
  has_looked boolean;
  -- The live attempts of a batch in which one says it, and what earlier looks have left.
  lookers jsonb;
  looked jsonb := '[]';
  -- The accepted ends. A `deferred` one has not ended at all.
  done_ends text[];
  done_becomes text[];
  done_delays_ms bigint[];
  done_numbers int[];
  -- Their places in what was given: a batch may hold the ends of two attempts of one task, of which one is live.
  done_at int[];
  done_workloads int[];
  -- The slots that fall free after a success, and who has them.
  slot_of bigint[];
  slot_workloads int[];
  slot_attempts uuid[];
  slot_tokens uuid[];
  slot_workers text[];
  slot_epochs bigint[];
  slot_versions text[];
  -- Waiting children, and how many of their parents ended here in which way; with the last success a child is unlocked.
  kids bigint[];
  kid_successes int[];
  kid_failures int[];
  kid_skips int[];
  have_rules boolean;
  unlocked bigint[];
  unlocked_workloads int[];
  -- Runs in which the rule of a waiting child is decided by what was counted here.
  decided bigint[] := '{}';
  -- Children that continue, in which of the slots above.
  going bigint[] := '{}';
  going_slots int[];
  going_workloads int[];
  going_workers text[];
  -- All task instances that are written, by their ids.
  moving bigint[];
  moving_ends text[];
  moving_becomes text[];
  moving_delays_ms bigint[];
  moving_counts int[];
  made_ready bigint[];
  calls boolean;
  closing bigint[];
  -- How many tasks of each of `runs` ended here, which of them were leaves that failed, and whether that decides others.
  run_ends int[];
  run_failures int[];
  run_decides boolean[];
begin
  runs := array(select r.id from sluice.dag_run r where r.id = any (array(select distinct i >> 20 from unnest(ids) i))
                 order by r.id for key share skip locked);
  if exists (select from unnest(ids) i where i >> 20 <> all (runs)) then
    -- Of a run that is gone there is no live attempt: its ends are refused with the others.
    busy := array(select i from unnest(ids) i
                   where i >> 20 <> all (runs) and exists (select from sluice.dag_run r where r.id = i >> 20));
  end if;

  select coalesce(bool_or(t.deferred_id is not null), false) into has_looked
    from (select deferred_id from sluice.task_instance
           where id = any (ids || array(select k.id from sluice.children_of(ids, fates) k)) and run_id = any (runs)
           order by id for update) t;

  if 'deferred' = any (ends) then
    select jsonb_agg(a) into lookers from sluice.live_attempt a where a.task_instance_id = any (ids);
  end if;
  if has_looked then
    select coalesce(jsonb_agg(d), '[]') into looked from sluice.deferral d where d.task_instance_id = any (ids);
  end if;

  -- Locked in the order in which heartbeats lock: a delete by an array of ids takes them as they lie. A token is one attempt's, so
  -- that two lists say the same as pairs.
  with gone as (
    delete from sluice.live_attempt a
     where a.task_instance_id = any (array(
             select l.task_instance_id from sluice.live_attempt l
              where l.task_instance_id = any (ids) and l.token = any (tokens) and l.state = 'running'
                and l.task_instance_id >> 20 = any (runs)
              order by 1 for update))
    returning a.*),
  done as (
    select a.*, f.at, ends[f.at] as end_state, fates[f.at] as becomes, reasons[f.at] as reason, exit_codes[f.at] as exit_code,
           error_texts[f.at] as error, delays_ms[f.at] as delay_ms, next_ids[f.at] as next_id, next_tokens[f.at] as next_token
      from gone a cross join lateral (select array_position(tokens, a.token) as at) f),
  history as (
    -- An attempt is the sum of its looks.
    insert into sluice.attempt
      (task_instance_id, number, id, state, reason, exit_code, error, worker_id, worker_version, ready_at, queued_at,
       started_at, deferrals, peak_memory, cpu_ms)
    select a.task_instance_id, a.number, a.id, a.end_state, a.reason, a.exit_code, a.error, a.worker_id,
           a.worker_version, coalesce(d.ready_at, a.ready_at), coalesce(d.queued_at, a.queued_at),
           coalesce(d.started_at, a.started_at), d.times, greatest(d.peak_memory, peaks[a.at]),
           coalesce(d.cpu_ms + cpus_ms[a.at], d.cpu_ms, cpus_ms[a.at])
      from done a left join jsonb_populate_recordset(null::sluice.deferral, looked) d using (task_instance_id)
     where a.end_state <> 'deferred'),
  e as (
    insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor)
    select task_instance_id >> 20, task_instance_id, number, 'running', becomes, reason, who from done
     where end_state not in ('deferred', 'success'))
  select array_agg(task_instance_id), array_agg(end_state), array_agg(d.becomes), array_agg(delay_ms),
         array_agg(number), array_agg(at::int), array_agg(workload_id),
         array_agg(task_instance_id) filter (where has_slot), array_agg(workload_id) filter (where has_slot),
         array_agg(next_id) filter (where has_slot), array_agg(next_token) filter (where has_slot),
         array_agg(worker_id) filter (where has_slot), array_agg(worker_epoch) filter (where has_slot),
         array_agg(worker_version) filter (where has_slot)
    into accepted, done_ends, done_becomes, done_delays_ms, done_numbers, done_at, done_workloads, slot_of, slot_workloads,
         slot_attempts, slot_tokens, slot_workers, slot_epochs, slot_versions
    from (select *, end_state = 'success' and next_id is not null as has_slot from done) d;
  if accepted is null then
    return row('{}'::bigint[], busy, '{}'::bigint[], '{}'::bigint[], null::bigint[], null::int[], false, null::jsonb);
  end if;

  if 'deferred' = any (done_ends) then
    with d as (
      insert into sluice.deferral as d (task_instance_id, number, id, times, reason, worker_id, ready_at, queued_at, started_at,
                                        peak_memory, cpu_ms, log_bytes)
      select a.task_instance_id, a.number, a.id, 1, reasons[x.at], a.worker_id, a.ready_at, a.queued_at, a.started_at,
             peaks[x.at], cpus_ms[x.at], coalesce(logs_bytes[x.at], 0)
        from unnest(accepted, done_ends, done_at) x(id, end_state, at)
        join jsonb_populate_recordset(null::sluice.live_attempt, lookers) a on a.task_instance_id = x.id
       where x.end_state = 'deferred'
      on conflict (task_instance_id) do update
        set times = d.times + 1, reason = excluded.reason, worker_id = excluded.worker_id,
            peak_memory = greatest(d.peak_memory, excluded.peak_memory),
            cpu_ms = coalesce(d.cpu_ms + excluded.cpu_ms, d.cpu_ms, excluded.cpu_ms),
            log_bytes = d.log_bytes + excluded.log_bytes
      returning d.task_instance_id, d.number, d.id, d.times, d.reason),
    -- What follows, look by look, is no event: there may be thousands.
    e as (
      insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor)
      select task_instance_id >> 20, task_instance_id, number, 'running', 'deferred', reason, who from d where times = 1)
    update sluice.task_instance t set deferred_id = d.ids[width_bucket(t.id, d.tasks)]
      from (select array_agg(id order by task_instance_id) as ids, array_agg(task_instance_id order by task_instance_id) as tasks
              from d where times = 1) d
     where t.id = any (d.tasks);
  end if;
  if has_looked then
    delete from sluice.deferral d
     where d.task_instance_id = any (array(select e.id from unnest(accepted, done_ends) e(id, end_state)
                                            where e.end_state <> 'deferred'));
  end if;

  -- Only what waits is counted for: a child that has started may see its parent succeed once more.
  if done_becomes && array['success', 'failed', 'skipped'] then
    select array_agg(t.id), array_agg(k.succeeded), array_agg(k.failed), array_agg(k.skipped), bool_or(k.has_rule),
           array_agg(t.id) filter (where t.open_parents = k.succeeded and not t.held),
           array_agg(t.workload_id) filter (where t.open_parents = k.succeeded and not t.held)
      into kids, kid_successes, kid_failures, kid_skips, have_rules, unlocked, unlocked_workloads
      from sluice.children_of(accepted, done_becomes) k
     cross join lateral (select t.id, t.open_parents, t.held, t.workload_id from sluice.task_instance t
                          where t.id = k.id and t.state = 'waiting' offset 0) t;
  end if;

  -- What continues: one unlocked child of the same workload in each slot, so that no count of any limit changes, and only where
  -- admission would give it that very slot.
  if unlocked is not null and slot_of is not null then
    -- The nth child and the nth slot of a run and a class are a pair. Grouped and not joined: a batch has hundreds of both, and a
    -- join of two arrays compares each with each.
    select coalesce(array_agg(p.id), '{}'), array_agg(p.slot), array_agg(p.workload_id), array_agg(slot_workers[p.slot])
      into going, going_slots, going_workloads, going_workers
      from (select min(x.id) as id, min(x.slot) as slot, x.workload_id
              from (select u.id, null::int as slot, u.id >> 20 as run, u.workload_id,
                           row_number() over (partition by u.id >> 20, u.workload_id order by u.id) as place
                      from (select u.*, rank() over (order by array_position(array['high', 'medium', 'low'], w.priority)) as rank
                              from unnest(unlocked, unlocked_workloads) u(id, workload_id)
                              join sluice.workload w on w.id = u.workload_id) u
                     where u.rank = 1
                    union all
                    select null, s.slot::int, s.id >> 20, s.workload_id,
                           row_number() over (partition by s.id >> 20, s.workload_id order by s.id)
                      from unnest(slot_of, slot_workloads, slot_workers, slot_epochs)
                             with ordinality s(id, workload_id, worker_id, epoch, slot)
                     where exists (select from sluice.worker k
                                    where k.id = s.worker_id and k.epoch = s.epoch and k.state = 'active')) x
             group by x.run, x.workload_id, x.place
            having count(x.id) = 1 and count(x.slot) = 1) p
     where not exists (select from sluice.run_action a where a.run_id = p.id >> 20);
    -- Mostly nothing else waits at all.
    if going <> '{}' and (exists (select from sluice.live_attempt where state = 'queued')
                          or exists (select from sluice.contention) or exists (select from sluice.lowered_limit)) then
      select coalesce(array_agg(g.id), '{}'), array_agg(g.slot) into going, going_slots
        from unnest(going, going_slots) g(id, slot)
        join unnest(sluice.may_continue(going, going_workloads, going_workers)) m(id) using (id);
    end if;
  end if;

  -- What ended and the children, in the order of their ids.
  select array_agg(x.id order by x.id), array_agg(x.end_state order by x.id), array_agg(x.becomes order by x.id),
         array_agg(x.delay_ms order by x.id), array_agg(x.n order by x.id)
    into moving, moving_ends, moving_becomes, moving_delays_ms, moving_counts
    from (select d.*, 0 as n from unnest(accepted, done_ends, done_becomes, done_delays_ms) d(id, end_state, becomes, delay_ms)
          union all
          select k.id, null, null, null, k.n from unnest(kids, kid_successes) k(id, n)) x;
  -- In a row, where `width_bucket` reads it as it is: of a variable it would make a copy for each task.
  with v as materialized (select moving as ids),
  moved as (
    update sluice.task_instance t
       set (state, open_parents, attempts, started_at, ended_at, ready_at, failures, lost_attempts, not_before, deferred_id) = (
             select case when x.becomes is not null then x.becomes when t.open_parents > x.n then t.state
                         when x.goes_on then 'running' else 'ready' end,
                    t.open_parents - x.n,
                    t.attempts + case when x.goes_on then 1 else 0 end,
                    case when x.goes_on then sluice.clock() else t.started_at end,
                    case when x.becomes = x.end_state and x.becomes <> 'deferred' then sluice.clock() end,
                    -- Not of a child that continues, which is ready when it starts: the column is in an index.
                    case when x.becomes = 'ready' or x.becomes is null and t.open_parents = x.n and not x.goes_on
                         then sluice.clock() else t.ready_at end,
                    t.failures + case when x.end_state = 'failed' then 1 else 0 end,
                    -- A look that came to its end shows that the task does not kill its workers.
                    case when x.becomes = 'deferred' then 0 else t.lost_attempts end,
                    case when x.becomes in ('retrying', 'deferred') then sluice.clock() + x.delay_ms * interval '1 ms' end,
                    case when x.becomes = 'deferred' then t.deferred_id end
               from (select width_bucket(t.id, v.ids) as place) p,
            lateral (select moving_becomes[p.place] as becomes, moving_ends[p.place] as end_state, moving_counts[p.place] as n,
                            moving_delays_ms[p.place] as delay_ms, t.id = any (going) as goes_on) x)
      from v where t.id = any (moving)
    returning t.id, t.run_id, t.state, t.attempts, t.failures, t.started_at, t.workload_id, t.lane_id),
  born as (
    insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at, queued_at, worker_id,
                                     worker_epoch, worker_version, token, started_at, lease_until)
    select m.id, m.attempts, slot_attempts[g.slot], 'running', m.workload_id, m.lane_id, m.started_at, m.started_at, slot_workers[g.slot],
           slot_epochs[g.slot], slot_versions[g.slot], slot_tokens[g.slot], m.started_at, sluice.clock() + lease_ms * interval '1 ms'
      from unnest(going, going_slots) g(id, slot) join moved m on m.id = g.id)
  select (select array_agg(id order by id) filter (where state = 'ready') from moved),
         (select jsonb_agg(jsonb_build_object(
                   'afterId', slot_of[g.slot]::text, 'taskInstanceId', m.id::text, 'attemptId', slot_attempts[g.slot],
                   'token', slot_tokens[g.slot], 'number', m.attempts, 'failures', m.failures, 'taskId', t.task_id,
                   'task', t.spec))
            from unnest(going, going_slots) g(id, slot)
            full join moved m on m.id = g.id
            cross join lateral (select r.version_id from sluice.dag_run r where r.id = m.run_id and g.slot is not null offset 0) r
            cross join lateral (select t.task_id, t.spec from sluice.dag_task t
                                 where t.version_id = r.version_id and t.ord = (m.id & 1048575)::int offset 0) t)
    into made_ready, continued;

  if 0 < any (kid_failures) or 0 < any (kid_skips) then
    insert into sluice.parent_ends as p (task_instance_id, failed, skipped)
    select k.id, k.failed, k.skipped from unnest(kids, kid_failures, kid_skips) k(id, failed, skipped)
     where k.failed + k.skipped > 0 order by k.id
    on conflict (task_instance_id) do update
      set failed = p.failed + excluded.failed, skipped = p.skipped + excluded.skipped;
  end if;
  if have_rules then
    decided := array(
      select distinct t.run_id
        from sluice.task_instance t
        cross join lateral (select r.version_id from sluice.dag_run r where r.id = t.run_id offset 0) r
        cross join lateral (select k.trigger_rule, k.gate, cardinality(k.parents) as parents from sluice.dag_task k
                             where k.version_id = r.version_id and k.ord = (t.id & 1048575)::int offset 0) k
        left join lateral (select e.failed, e.upstream_failed, e.skipped from sluice.parent_ends e
                            where e.task_instance_id = t.id offset 0) e on true
       where t.id = any (kids) and t.state = 'waiting' and k.trigger_rule <> 'all_success'
         and sluice.rule_verdict(k.trigger_rule, k.parents, k.gate - t.open_parents, coalesce(e.failed, 0),
                                 coalesce(e.upstream_failed, 0), coalesce(e.skipped, 0)) <> 'waiting');
  end if;

  if xcoms is not null then
    insert into sluice.xcom (task_instance_id, key, value, bytes, expires_at)
    select d.id, x.key, x.value, octet_length(x.value::text), sluice.clock() + xcom_ttls_ms[d.at] * interval '1 ms'
      from unnest(accepted, done_at) d(id, at) cross join lateral jsonb_each(xcoms[d.at]) x
    on conflict (task_instance_id, key) do update
      set value = excluded.value, bytes = excluded.bytes, created_at = sluice.clock(), expires_at = excluded.expires_at;
  end if;

  runs := array(select distinct i >> 20 from unnest(accepted) i);
  if cardinality(runs) > 1 then
    perform from sluice.run_progress where run_id = any (runs) order by run_id for update;
  end if;
  with tally as (
    select d.id >> 20 as run_id, count(*) filter (where d.becomes = d.end_state and d.becomes <> 'deferred')::int as n,
           count(*) filter (where d.becomes = 'failed' and t.is_leaf)::int as failed_leaves,
           -- A child under all_success is decided by it, if one still waits.
           coalesce(bool_or(d.becomes in ('failed', 'skipped')
             and cardinality(t.children) > cardinality(t.counted_children)
             and exists (select from sluice.task_instance k
                          where k.id = any (array(select (d.id >> 20) << 20 | c.ord from unnest(t.children) c(ord)
                                                   where c.ord <> all (t.counted_children)))
                            and k.state = 'waiting')), false) as decides,
           bool_or(t.calls <> '{}') as calls
      from unnest(accepted, done_ends, done_becomes) d(id, end_state, becomes)
      cross join lateral (select r.version_id from sluice.dag_run r where r.id = d.id >> 20 offset 0) r
      cross join lateral (select t.is_leaf, t.children, t.counted_children, t.calls from sluice.dag_task t
                           where t.version_id = r.version_id and t.ord = (d.id & 1048575)::int offset 0) t
     group by 1)
  select array_agg(t.run_id order by t.run_id), array_agg(t.n order by t.run_id), array_agg(t.failed_leaves order by t.run_id),
         array_agg(t.decides order by t.run_id), bool_or(t.calls)
    into runs, run_ends, run_failures, run_decides, calls from tally t;
  with progress as (
    update sluice.run_progress p
       set (open, failed_leaves, unsettled) = (
             select p.open - run_ends[x.place], p.failed_leaves + run_failures[x.place],
                    -- With nothing open there is nothing left to settle.
                    (p.unsettled or run_decides[x.place] or p.run_id = any (decided)) and p.open > run_ends[x.place]
               from (select width_bucket(p.run_id, runs) as place) x)
     where p.run_id = any (runs) and run_ends[width_bucket(p.run_id, runs)] > 0
    returning p.run_id, p.open, p.unsettled)
  select array(select p.run_id from progress p where p.unsettled), array(select p.run_id from progress p where p.open = 0)
    into unsettled, closing;

  if 'failed' = any (done_becomes) then
    insert into sluice.dead_letter (task_instance_id, dag_id, task_id, attempt, reason, error)
    select d.id, r.dag_id, t.task_id, d.number, reasons[d.at], error_texts[d.at]
      from unnest(accepted, done_becomes, done_numbers, done_at) d(id, becomes, number, at)
      cross join lateral (select r.dag_id, r.version_id from sluice.dag_run r where r.id = d.id >> 20 offset 0) r
      cross join lateral (select t.task_id from sluice.dag_task t
                           where t.version_id = r.version_id and t.ord = (d.id & 1048575)::int offset 0) t
     where d.becomes = 'failed'
    on conflict (task_instance_id) do update set attempt = excluded.attempt, reason = excluded.reason,
      error = excluded.error, failed_at = sluice.clock(), dismissed_at = null, dismissed_by = null;
  end if;

  if calls then
    insert into sluice.callback (run_id, task_instance_id, attempt, event)
    select d.id >> 20, d.id, d.number, d.event
      from (select d.id, d.number, case when d.becomes in ('retrying', 'ready') then 'retry' else d.becomes end as event
              from unnest(accepted, done_becomes, done_numbers) d(id, becomes, number)) d
      cross join lateral (select r.version_id from sluice.dag_run r where r.id = d.id >> 20 offset 0) r
      cross join lateral (select t.calls from sluice.dag_task t
                           where t.version_id = r.version_id and t.ord = (d.id & 1048575)::int offset 0) t
     where d.event = any (t.calls);
    has_callbacks := found;
  end if;

  return row(accepted, busy, unsettled, closing, made_ready,
             case when cardinality(accepted) > cardinality(going) then done_workloads end, has_callbacks, continued);
end $$;

-- `running` → its outcome, for every attempt whose token is still the live one; children of successes are
-- counted down and made `ready`, or continue in the slot that fell free, and a run with nothing open is
-- closed. An attempt that says "not yet" ends only this look: its task is `deferred`, and the attempt
-- stays. An end of a run that another transaction has locked is left as it is and returned in `busy`: it
-- must not hold up the ends of other runs. `claimable` are lanes in which a slot fell free for what the worker
-- may claim without admission. Called by lib/db/finishes.ts, which says what goes in and comes
-- out; arrays of one length are one set.
--
-- Lock order: runs (FOR KEY SHARE: against user actions, which take FOR UPDATE, but not against another finisher's closing
-- update) → task instances by id, finishers and children together → live attempts by task instance, as heartbeats take
-- them, which lock nothing else → parent ends by task instance → progress by run id.
--
-- The name carries its version, since workers of an older release call it during an upgrade: see CONTRIBUTING.
create function sluice.finish_1(
  ids bigint[], tokens uuid[], ends text[], reasons text[], exit_codes int[], error_texts text[], peaks bigint[], cpus_ms bigint[],
  xcoms jsonb[], xcom_ttls_ms bigint[], delays_ms bigint[], logs_bytes bigint[], next_ids uuid[], next_tokens uuid[], who text,
  lease_ms int,
  out accepted bigint[], out busy bigint[], out unsettled bigint[], out dags_with_room text[], out backfills bigint[],
  out calls_for_admission boolean, out lanes text[], out has_callbacks boolean, out continued jsonb, out claimable text[])
language plpgsql as $$
declare
  ended sluice.ended;
  waited record;
  open_lanes int[];
begin
  dags_with_room := '{}';
  backfills := '{}';
  lanes := '{}';
  claimable := '{}';
  if cardinality(ids) = 1 and ends[1] = 'success' and delays_ms[1] is null then
    ended := sluice.end_step(ids[1], tokens[1], reasons[1], exit_codes[1], error_texts[1], peaks[1], cpus_ms[1], xcoms[1],
                             xcom_ttls_ms[1], next_ids[1], next_tokens[1], lease_ms);
  end if;
  if ended.accepted is null then
    ended := sluice.end_attempts(ids, tokens, ends, reasons, exit_codes, error_texts, peaks, cpus_ms, xcoms, xcom_ttls_ms,
                                 delays_ms, logs_bytes, next_ids, next_tokens, who, lease_ms);
  end if;
  accepted := ended.accepted;
  busy := ended.busy;
  unsettled := ended.unsettled;
  has_callbacks := ended.has_callbacks;
  continued := ended.continued;

  if ended.closing <> '{}' then
    with closed as (
      update sluice.dag_run r
         set state = case when (select p.failed_leaves from sluice.run_progress p where p.run_id = r.id) > 0
                          then 'failed' else 'success' end,
             ended_at = sluice.clock()
       where r.id = any (ended.closing) and r.state = 'running'
      returning r.id, r.state, r.dag_id, r.version_id, r.backfill_id),
    e as (
      insert into sluice.event (run_id, from_state, to_state, actor) select id, 'running', state, who from closed),
    call as (
      insert into sluice.callback (run_id, event)
      select c.id, c.state from closed c
        cross join lateral (select v.calls from sluice.dag_version v where v.id = c.version_id offset 0) v
       where c.state = any (v.calls)
      returning 1)
    select has_callbacks or exists (select from call),
           -- Where a DAG may have one active run, its own runs and those of its backfills wait for each other.
           array(select distinct c.dag_id from closed c join sluice.dag d on d.id = c.dag_id
                  where (c.backfill_id is null or d.max_active_runs = 1)
                    and exists (select from sluice.dag_run q
                                 where q.dag_id = c.dag_id and q.state = 'queued' and q.backfill_id is null)),
           array(select c.backfill_id from closed c where c.backfill_id is not null
                 union
                 select b.id from closed c join sluice.dag d on d.id = c.dag_id and d.max_active_runs = 1
                   join sluice.backfill b on b.dag_id = c.dag_id and b.ended_at is null)
      into has_callbacks, dags_with_room, backfills;
  end if;

  -- The few that became ready are admitted here, where nothing has to be weighed; the rest, and what waits for
  -- what has fallen free, is for a full pass.
  if cardinality(ended.made_ready) <= 64 then
    select a.again, a.lanes into calls_for_admission, lanes from sluice.admit_at_once(ended.made_ready) a;
  else
    calls_for_admission := ended.made_ready is not null;
  end if;
  -- Of the lanes in which slots fell free, those whose ready tasks the caller may claim itself: no pass is wanted for them.
  if ended.freed is not null then
    select * into waited from sluice.waited_for(ended.freed);
    calls_for_admission := calls_for_admission or waited.others;
    if waited.lanes <> '{}' then
      select coalesce(array_agg(l.queue || '.' || l.slot_class), '{}'), coalesce(array_agg(l.id), '{}') into claimable, open_lanes
        from sluice.lane l where l.id = any (waited.lanes) and sluice.claimable_class(l.id) is not null;
      calls_for_admission := calls_for_admission or not waited.lanes <@ open_lanes;
    end if;
  end if;
end $$;

select sluice.open_generation(keep_days) from sluice.retention;
