import type { DagDetail } from "#lib/contract/dags.ts";
import type { NextRun, Schedule, SchedulePreview, ScheduleSummary } from "#lib/contract/schedules.ts";
import type { CompiledSchedule, Fire } from "#lib/domain/schedule/compile.ts";
import { sinceLast } from "#lib/domain/schedule/decide.ts";
import { compileDefinition } from "#lib/domain/schedule/definition.ts";
import { dueInPause } from "#lib/domain/schedule/due-in-pause.ts";
import { preview } from "#lib/domain/schedule/preview.ts";
import { expressionOf, wordsOf } from "#lib/domain/schedule/words.ts";
import { zonedText } from "#lib/domain/schedule/zoned.ts";
import type { Db } from "./pool.ts";
import { type DroppedRuns, listSchedules, type ScheduleStanding } from "./schedule-reads.ts";

/** Schedules as the API tells of them, computed from what schedulers compute from. */

type Known = ScheduleStanding & { compiled: CompiledSchedule };

async function readKnown(db: Db, dagIds: readonly string[]): Promise<{ now: Date; schedules: Known[] }> {
  const { now, schedules } = await listSchedules(db, dagIds);
  return {
    now,
    schedules: schedules.map((standing) => ({
      ...standing,
      compiled: compileDefinition(standing.dagId, standing.definition),
    })),
  };
}

/** Those of these DAGs that have a schedule. */
export async function listScheduleSummaries(
  db: Db,
  dagIds: readonly string[],
): Promise<Map<string, ScheduleSummary | undefined>> {
  const { schedules } = await readKnown(db, dagIds);
  return new Map([...Map.groupBy(schedules, ({ dagId }) => dagId)].map(([dagId, some]) => [dagId, summaryOf(some)]));
}

type DagSchedules = Pick<DagDetail, "schedules" | "dueInPause"> & { summary: ScheduleSummary | undefined };

/** All about when a DAG's runs are due. */
export async function findSchedules(db: Db, dagId: string): Promise<DagSchedules> {
  const { now, schedules } = await readKnown(db, [dagId]);
  return { summary: summaryOf(schedules), schedules: schedules.map(toSchedule), dueInPause: allDue(schedules, now) };
}

/** The next `count` runs of a DAG's schedules, whether it is paused or not. */
export async function previewSchedules(db: Db, dagId: string, count: number): Promise<SchedulePreview> {
  const { now, schedules } = await readKnown(db, [dagId]);
  const compiled = schedules.map((schedule) => schedule.compiled);
  const items = preview(compiled, now, count).map(({ schedule: index, notes, ...fire }) => ({
    scheduleId: schedules[index]!.id,
    ...runOf(compiled[index]!, fire),
    notes,
  }));
  return { now: now.toISOString(), items };
}

function summaryOf(schedules: readonly Known[]): ScheduleSummary | undefined {
  const [first] = schedules;
  if (first === undefined) return undefined;
  const runs = schedules.flatMap((schedule) => nextRunOf(schedule) ?? []);
  const dropped = schedules.flatMap((schedule) => schedule.dropped).filter(({ reason }) => reason !== "PAUSED");
  return {
    count: schedules.length,
    ...textsOf(first),
    nextRun: runs.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at))[0] ?? null,
    dropped: sumOf(dropped.map(({ runs: count }) => count)),
  };
}

function toSchedule(schedule: Known): Schedule {
  const { id, definition, compiled, lastDue, dropped } = schedule;
  return {
    id,
    ...textsOf(schedule),
    details: wordsOf(definition.spec, compiled).details,
    endDate: definition.endDate ?? null,
    nextRun: nextRunOf(schedule) ?? null,
    lastDue: lastDue?.toISOString() ?? null,
    dropped: dropped.map(toDropped),
  };
}

function toDropped({ runs, reason, firstDue, lastDue }: DroppedRuns): Schedule["dropped"][number] {
  return { runs, reason, firstDue: firstDue.toISOString(), lastDue: lastDue.toISOString() };
}

function textsOf({ definition: { spec }, compiled }: Known): Pick<Schedule, "text" | "words" | "timezone"> {
  return { text: expressionOf(spec), words: wordsOf(spec, compiled).when, timezone: compiled.parts.zone.name };
}

/** Counted from the position and not from now: what is late is still the next one. */
function nextRunOf({ compiled, position, lastDue, pausedBy, missing }: Known): NextRun | undefined {
  const fire = pausedBy === null && !missing ? compiled.next(position) : undefined;
  return fire && runOf(compiled, sinceLast(fire, lastDue ?? undefined));
}

function runOf({ parts: { zone } }: CompiledSchedule, { due, at, logicalDate }: Fire): NextRun {
  return {
    due: due.toISOString(),
    at: at.toISOString(),
    logicalDate: logicalDate.toISOString(),
    local: zonedText(zone, at),
    timezone: zone.name,
  };
}

function allDue(schedules: readonly Known[], now: Date): DagDetail["dueInPause"] {
  const all = schedules.flatMap(({ compiled, position, lastDue, pausedAt, definition: { catchup } }) => {
    if (pausedAt === null) return [];
    const state = { position, lastDue: lastDue ?? undefined, skip: undefined };
    return [dueInPause(compiled, state, { catchup, now, since: pausedAt })];
  });
  if (all.length === 0) return null;
  return { runs: sumOf(all.map(({ runs }) => runs)), madeUp: sumOf(all.map(({ madeUp }) => madeUp)) };
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
