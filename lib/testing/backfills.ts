import { expect } from "vitest";
import { type Backfill, findBackfill } from "#lib/db/backfill-reads.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { inTx } from "#lib/db/tx.ts";
import { createBackfill, type CreateBackfill } from "#lib/engine/backfill/create.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { publishScheduled } from "./schedules.ts";

const TASK = { id: "only", type: "bash", config: { command: "true" } };

/** Publishes a DAG with a run for each UTC day and one shell task. */
export function publishDaily(deps: EngineDeps, id: string, fields: Record<string, unknown> = {}): Promise<void> {
  return publishScheduled(deps, id, { schedule: [{ cron: "0 0 * * *" }], tasks: [TASK], ...fields });
}

/** January 2024, four at once. */
export function january(dagId: string, fields: Partial<CreateBackfill> = {}): CreateBackfill {
  return {
    dagId,
    start: "2024-01-01",
    end: "2024-01-31",
    reprocess: "missing",
    order: "asc",
    maxActive: 4,
    priority: "low",
    conf: {},
    actor: "anna",
    ...fields,
  };
}

/** Makes the backfill; a test that means to gets one. */
export async function backfill(deps: EngineDeps, request: CreateBackfill): Promise<string> {
  const created = await createBackfill(deps, request);
  if (created.kind !== "created") throw new Error(`the backfill is ${created.kind}`);
  return created.backfillId;
}

export async function shown(deps: EngineDeps, backfillId: string): Promise<Backfill> {
  return (await findBackfill(deps.pool, backfillId))!;
}

/** How many dates there are by the state of their latest run, without the zeros. */
export async function counts(deps: EngineDeps, backfillId: string): Promise<Record<string, number>> {
  const { counts: all } = await shown(deps, backfillId);
  return Object.fromEntries(Object.entries(all).filter(([, number]) => number > 0));
}

export type BackfillRun = { id: string; day: string; state: string; version: number };

/** Its runs with their logical dates, in the order in which they were made. */
export async function runsOf(deps: EngineDeps, backfillId: string): Promise<BackfillRun[]> {
  const { rows } = await deps.pool.query<BackfillRun>(
    `select r.id, to_char(r.logical_date at time zone 'UTC', 'MM-DD') as day, r.state, v.number as version
       from sluice.dag_run r join sluice.dag_version v on v.id = r.version_id where r.backfill_id = $1 order by r.id`,
    [backfillId],
  );
  return rows;
}

/** The logical dates of those that go on. */
export async function going(deps: EngineDeps, backfillId: string): Promise<string[]> {
  return (await runsOf(deps, backfillId)).filter(({ state }) => state === "running").map(({ day }) => day);
}

export async function nothingBroken(deps: EngineDeps): Promise<void> {
  const findings = await inTx(deps.pool, checkInvariants);
  expect(findings.filter(({ broken }) => broken.length > 0)).toEqual([]);
}

export async function forgetBackfills({ pool }: EngineDeps): Promise<void> {
  await pool.query("truncate sluice.backfill, sluice.backfill_event");
}
