import { AppError } from "#lib/domain/errors.ts";
import type { History } from "#lib/domain/backfill/estimate.ts";
import { type Order, planOf, type PlannedSlice, type Reprocess } from "#lib/domain/backfill/plan.ts";
import { type Range, rangeOf } from "#lib/domain/backfill/range.ts";
import { MAX_SLICES, type Slice, type Slices, slicesOf } from "#lib/domain/backfill/slices.ts";
import { storableJson } from "#lib/domain/output.ts";
import { paramValues } from "#lib/domain/param-values.ts";
import { compileDefinition } from "#lib/domain/schedule/definition.ts";
import { runHistory } from "#lib/db/backfill-reads.ts";
import { type BackfillGround, latestRuns, readBackfillGround } from "#lib/db/backfill/ground.ts";
import type { Db } from "#lib/db/pool.ts";

export type BackfillRequest = {
  dagId: string;
  /** Dates or times; what names no offset is meant in the DAG's zone, and a date as the end is the whole day. */
  start: string;
  end: string;
  /** Which of the DAG's schedules, from 1; without it, all of them. */
  schedule?: number | undefined;
  reprocess: Reprocess;
  order: Order;
  maxActive: number;
  conf: Record<string, unknown>;
};

export type PreparedBackfill = {
  dagId: string;
  versionId: string;
  timezone: string;
  range: Range;
  scheduleOrd: number | null;
  params: Record<string, unknown>;
  plan: PlannedSlice[];
  /** Logical dates in the range that are left out: their time has not ended, or their schedule starts them itself. */
  notDue: number;
  leftToSchedule: number;
};

/**
 * What a backfill would do now. Throws `dag_not_found`, and `invalid_request` when the DAG cannot be started, has no such
 * schedule or wants another conf, and when there is nothing or too much in the range.
 */
export async function prepareBackfill(db: Db, request: BackfillRequest): Promise<PreparedBackfill> {
  const { dagId } = request;
  const ground = await readBackfillGround(db, dagId);
  if (ground === undefined) throw new AppError("dag_not_found", `There is no DAG "${dagId}".`);
  if (ground.missing) throw refused(`the file of the DAG "${dagId}" is gone, so nothing of it can be started`);
  const { versionId, timezone, now } = ground;
  const params = backfillParams(ground.params, request.conf);
  if (!Number.isInteger(request.maxActive) || request.maxActive < 1)
    throw refused(`at least one run at a time must be allowed, not ${request.maxActive}`);
  const schedules = chosenSchedules(ground, request);
  const read = rangeOf(request.start, request.end, timezone);
  if (!read.ok) throw refused(read.problem);
  const { range } = read;
  const found = slicesOf(
    schedules.map(({ id, definition, position }) => ({
      id,
      compiled: compileDefinition(dagId, definition),
      position,
    })),
    range,
    now,
  );
  refuseSize(found, request);
  const ids = schedules.map(({ id }) => id);
  const latest = await latestRuns(db, dagId, ids, dueRange(found.slices, range));
  const plan = planOf(found.slices, latest, request);
  const scheduleOrd = request.schedule === undefined ? null : request.schedule - 1;
  const { notDue, leftToSchedule } = found;
  return { dagId, versionId, timezone, range, scheduleOrd, params, plan, notDue, leftToSchedule };
}

/** From when to when the slices' runs were due. */
function dueRange(slices: readonly Slice[], range: Range): Range {
  const dues = slices.map(({ interval }) => interval.end);
  return dues.reduce(({ start, end }, due) => ({ start: due < start ? due : start, end: due > end ? due : end }), {
    start: dues[0] ?? range.start,
    end: dues[0] ?? range.end,
  });
}

/** What tasks will see of the conf. Throws `invalid_request` when it is not what the DAG's params allow. */
export function backfillParams(
  schemas: BackfillGround["params"],
  conf: Record<string, unknown>,
): Record<string, unknown> {
  const storable = storableJson(conf);
  if (!storable.ok) throw refused(`conf: ${storable.error}`);
  const values = paramValues(schemas ?? {}, conf);
  if (values.ok) return values.params;
  throw new AppError("invalid_request", values.problems.join("; "), { problems: values.problems });
}

function chosenSchedules(
  { schedules }: BackfillGround,
  { dagId, schedule }: BackfillRequest,
): BackfillGround["schedules"] {
  if (schedules.length === 0)
    throw refused(
      `the DAG "${dagId}" has no schedule, so there are no dates to backfill; \`sluice runs trigger\` starts single runs`,
    );
  if (schedule === undefined) return schedules;
  const chosen = schedules[schedule - 1];
  if (chosen !== undefined) return [chosen];
  const has = schedules.length === 1 ? "one schedule" : `${schedules.length} schedules`;
  throw refused(`the DAG "${dagId}" has ${has}, so there is no schedule ${schedule}; they are counted from 1`);
}

function refuseSize({ count, notDue, leftToSchedule }: Slices, { dagId, start, end }: BackfillRequest): void {
  if (count > MAX_SLICES) {
    const many = `${count >= 10 * MAX_SLICES ? "more than " : ""}${count.toLocaleString("en-US")}`;
    throw refused(
      `there are ${many} logical dates from ${start} to ${end}; a backfill has at most ${MAX_SLICES.toLocaleString("en-US")}, so take a shorter range`,
    );
  }
  if (count > 0) return;
  const why =
    leftToSchedule > 0
      ? "; what is due there, its schedule is going to start itself"
      : notDue > 0
        ? "; what begins there has not ended yet"
        : "";
  throw refused(`no logical date of "${dagId}" from ${start} to ${end} is due${why}`);
}

export function refused(message: string): AppError {
  return new AppError("invalid_request", message);
}

/** A preview, for people: nothing is made. */
export type BackfillPreview = PreparedBackfill & { history: History };

/** Throws as `prepareBackfill` does. */
export async function previewBackfill(db: Db, request: BackfillRequest): Promise<BackfillPreview> {
  return { ...(await prepareBackfill(db, request)), history: await runHistory(db, request.dagId) };
}
