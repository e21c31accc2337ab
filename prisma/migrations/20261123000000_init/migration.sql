create schema if not exists sluice;

-- The one source of time. Tests move it per session with `set sluice.clock_offset = '10 s'`; nothing else may.
-- Compare as `(select sluice.clock())`, so that the planner evaluates it once and can use an index.
create function sluice.clock() returns timestamptz language sql volatile parallel safe as $$
  select clock_timestamp() + coalesce(nullif(current_setting('sluice.clock_offset', true), '')::interval, interval '0')
$$;

create function sluice.today() returns date language sql volatile parallel safe as $$
  select (sluice.clock() at time zone 'UTC')::date
$$;

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
  -- Who paused it; nothing of it starts meanwhile.
  paused_by text,
  -- Of its current version: how much of it goes on at once; null is no limit.
  max_active_runs int not null check (max_active_runs > 0),
  max_active_tasks int check (max_active_tasks > 0),
  max_active_tasks_per_run int check (max_active_tasks_per_run > 0),
  current_version_id bigint not null,
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

alter table sluice.dag_version add constraint dag_version_dag_id_fkey
  foreign key (dag_id) references sluice.dag (id) deferrable initially deferred;
alter table sluice.dag add constraint dag_current_version_id_fkey
  foreign key (current_version_id) references sluice.dag_version (id) deferrable initially deferred;

-- Slots that tasks of all DAGs share.
create table sluice.pool (
  name text primary key check (name ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  slots int not null check (slots >= 0),
  description text,
  created_at timestamptz not null default sluice.clock()
);

-- Tasks between which admission sees no difference but their age: one row each for all versions of a DAG.
create table sluice.workload (
  id int generated always as identity primary key,
  dag_id text not null,
  queue text not null,
  slot_class text not null check (slot_class in ('process', 'function', 'inline')),
  -- No foreign key: a task may name a pool that is made later, and waits for it.
  pool text,
  slots int not null check (slots > 0),
  priority text not null check (priority in ('high', 'medium', 'low')),
  -- What one task asks of its worker: thousandths of a processor and MiB; 0 asks for nothing.
  cpu int not null check (cpu >= 0),
  memory int not null check (memory >= 0),
  unique nulls not distinct (dag_id, queue, slot_class, pool, slots, priority, cpu, memory)
);

-- Limits of the whole system that people may change while it runs; one that is absent is none.
create table sluice.system_limit (
  name text primary key check (name in ('max_active_tasks')),
  value int not null check (value >= 0)
);

-- Why ready tasks of a workload are not admitted; kept by a scheduler, written when it changes.
create table sluice.workload_wait (
  workload_id int primary key,
  code text not null,
  detail jsonb not null,
  since timestamptz not null default sluice.clock()
);

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
  -- A child's rule looks at more than successes: every end of this task calls for settling the run.
  wakes_settling boolean not null,
  -- Ends of an attempt that call somebody: success, failed, retry.
  calls text[] not null default '{}',
  -- The whole task in its compact form: what a worker needs to run it.
  spec jsonb not null,
  primary key (version_id, ord)
);

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

create table sluice.dag_run (
  id bigint generated always as identity primary key,
  dag_id text not null,
  version_id bigint not null,
  state text not null check (state in ('queued', 'running', 'success', 'failed', 'cancelled')),
  trigger_kind text not null check (trigger_kind in ('schedule', 'manual', 'api', 'backfill', 'dag', 'event')),
  logical_date timestamptz not null,
  conf jsonb not null default '{}',
  -- What tasks see: conf, with the params' defaults.
  params jsonb not null default '{}',
  note text,
  actor text not null,
  -- Who paused it; its tasks are not admitted meanwhile.
  paused_by text,
  created_at timestamptz not null default sluice.clock(),
  started_at timestamptz,
  ended_at timestamptz,
  constraint ended_iff_final check ((state in ('success', 'failed', 'cancelled')) = (ended_at is not null))
);
create index dag_run_going_idx on sluice.dag_run (dag_id, id) where state = 'running';
create index dag_run_queued_idx on sluice.dag_run (dag_id, id) where state = 'queued';
create index dag_run_dag_id_id_idx on sluice.dag_run (dag_id, id desc);

-- Small and unpartitioned, so that "exactly one run per key" stays a plain unique index.
create table sluice.run_key (
  dag_id text not null,
  kind text not null check (kind in ('idempotency')),
  key text not null,
  run_id bigint not null,
  request_hash text not null,
  primary key (dag_id, kind, key)
);

-- Apart from dag_run: finishers update this row, so they never need the run row itself.
create table sluice.run_progress (
  run_id bigint primary key,
  open int not null check (open >= 0),
  failed_leaves int not null default 0,
  -- A task ended in a way that counting successes does not cover, and nobody has looked at the others' rules yet.
  unsettled boolean not null default false,
  -- A waiting task has such a parent: every further end calls for settling.
  settles_each boolean not null default false
) with (fillfactor = 50);
create index run_progress_unsettled_idx on sluice.run_progress (run_id) where unsettled;

-- id = run_id << 20 | ord: see lib/domain/ids.ts.
create table sluice.task_instance (
  id bigint primary key,
  run_id bigint not null,
  state text not null check (state in ('waiting', 'ready', 'queued', 'running', 'success', 'failed', 'skipped',
    'upstream_failed', 'cancelled', 'retrying', 'deferred')),
  workload_id int not null,
  -- Parents that have not succeeded yet (see dag_task.gate); at 0 a waiting task is ready.
  open_parents int not null check (open_parents >= 0),
  attempts int not null default 0,
  lost_attempts int not null default 0,
  -- Failed attempts since the task was last cleared: what the retry policy counts.
  failures int not null default 0,
  retry_at timestamptz,
  -- Its run or its DAG is paused: not admitted.
  held boolean not null default false,
  ready_at timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  constraint in_its_run check (id >> 20 = run_id),
  constraint retrying_has_its_time check ((state = 'retrying') = (retry_at is not null)),
  constraint ended_iff_final check
    ((state in ('success', 'failed', 'skipped', 'upstream_failed', 'cancelled')) = (ended_at is not null))
) with (fillfactor = 60);
create index task_instance_ready_idx on sluice.task_instance (workload_id, id) where state = 'ready' and not held;

create index task_instance_retry_at_idx on sluice.task_instance (retry_at) where state = 'retrying';

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
);
create index dead_letter_open_idx on sluice.dead_letter (failed_at desc, task_instance_id) where dismissed_at is null;

-- One row per task instance from admission to end: the primary key is the rule "one live attempt", and
-- occupancy is an aggregate over this table, never a counter.
create table sluice.live_attempt (
  task_instance_id bigint primary key,
  number int not null,
  id uuid not null unique,
  state text not null check (state in ('queued', 'running')),
  workload_id int not null,
  queued_at timestamptz not null default sluice.clock(),
  -- The only worker that may take it: admission gives a task that asks for processors or memory to one that has them.
  assigned_to text,
  worker_id text,
  worker_epoch bigint,
  token uuid,
  started_at timestamptz,
  lease_until timestamptz,
  constraint running_is_leased check ((state = 'running') =
    (worker_id is not null and worker_epoch is not null and token is not null
      and started_at is not null and lease_until is not null))
) with (fillfactor = 60);
-- What is handed over and not taken yet, oldest first: asked before a child goes on in its parent's slot.
create index live_attempt_queued_idx on sluice.live_attempt (workload_id, task_instance_id) where state = 'queued';

------------------------------------------------------------------------------------------------ history, by day

create table sluice.attempt (
  day date not null default sluice.today(),
  task_instance_id bigint not null,
  number int not null,
  id uuid not null,
  state text not null check (state in ('success', 'failed', 'skipped', 'lost', 'cancelled')),
  reason text not null,
  exit_code int,
  error text,
  -- Null when it was cancelled before a worker took it.
  worker_id text,
  queued_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz not null default sluice.clock(),
  primary key (task_instance_id, number, day)
) partition by range (day);

create table sluice.event (
  day date not null default sluice.today(),
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
  primary key (run_id, id, day)
) partition by range (day);

create table sluice.task_log (
  day date not null default sluice.today(),
  task_instance_id bigint not null,
  attempt int not null,
  seq int not null,
  at timestamptz not null default sluice.clock(),
  stream text not null check (stream in ('stdout', 'stderr', 'system')),
  chunk bytea not null,
  primary key (task_instance_id, attempt, seq, day)
) partition by range (day);

-- Makes the partitions from yesterday (a clock set back must find one) to `ahead` days from now.
create function sluice.ensure_partitions(ahead int) returns void language plpgsql as $$
declare
  parent text;
  start date;
begin
  perform pg_advisory_xact_lock(hashtext('sluice.ensure_partitions'));
  foreach parent in array array['attempt', 'event', 'task_log'] loop
    for start in select d::date from generate_series(sluice.today() - 1, sluice.today() + ahead, interval '1 day') d loop
      execute format('create table if not exists sluice.%I partition of sluice.%I for values from (%L) to (%L)',
        parent || to_char(start, '_YYYYMMDD'), parent, start, start + 1);
    end loop;
  end loop;
end $$;
select sluice.ensure_partitions(7);

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

------------------------------------------------------------------------------------------------ values

create table sluice.xcom (
  task_instance_id bigint not null,
  key text not null,
  value jsonb not null,
  created_at timestamptz not null default sluice.clock(),
  primary key (task_instance_id, key)
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
  -- What its tasks may ask for, all together: thousandths of a processor and MiB.
  cpu int not null check (cpu >= 0),
  memory int not null check (memory >= 0),
  state text not null check (state in ('active', 'draining', 'stopped')),
  started_at timestamptz not null default sluice.clock(),
  lease_until timestamptz not null
) with (fillfactor = 50);

create table sluice.app_user (
  id bigint generated always as identity primary key,
  name text not null unique,
  password_hash text not null,
  role text not null check (role in ('admin', 'operator', 'viewer')),
  -- A session made under an older number is over.
  session_version int not null default 1,
  created_at timestamptz not null default sluice.clock()
);

-- Failed sign-ins per name and per address, kept here so that every web process counts the same.
create table sluice.sign_in_failure (
  subject text primary key,
  failures int not null,
  window_ends_at timestamptz not null
);
