import type { Startable } from "#lib/db/runs.ts";
import type { CompiledSchedule } from "#lib/domain/schedule/compile.ts";

/** What a DAG's runs are started from: its current version, and its schedules compiled. */
export type RunTemplate = Omit<Startable, "schedules"> & { schedules: CompiledSchedule[] };
