import { z } from "zod";
import { DagId } from "#lib/domain/model/names.ts";
import { DROP_REASONS } from "#lib/domain/schedule/decide.ts";
import { Id, Time } from "./fields.ts";
import { op } from "./op.ts";

const fire = {
  due: Time.describe("Its place in the schedule."),
  at: Time.describe("When it starts: later than `due` by a blackout or jitter."),
  logicalDate: Time.describe("Where the interval begins that it is about; that ends at `due`."),
  local: z.iso.datetime({ offset: true }).describe("`at` as clocks of the schedule's zone show it."),
  timezone: z.string(),
};

const NextRun = z.strictObject(fire);
export type NextRun = z.infer<typeof NextRun>;

export const ScheduleSummary = z.strictObject({
  count: z
    .number()
    .int()
    .describe("How many schedules the DAG has; `text`, `words` and `timezone` are the first one's."),
  text: z.string(),
  words: z.string(),
  timezone: z.string(),
  nextRun: NextRun.nullable().describe("The first one of all its schedules; null as in the DAG itself."),
  dropped: z
    .number()
    .int()
    .describe("Runs of the last 30 days that never started, without those that were due in a pause."),
});
export type ScheduleSummary = z.infer<typeof ScheduleSummary>;

const DroppedRuns = z.strictObject({
  runs: z.number().int().describe("At least so many: of one outage, 100,000 are counted."),
  reason: z
    .enum(DROP_REASONS)
    .describe(
      "`MISSED`: nothing could start them in time. `TOO_MANY`: more than the catch-up policy makes up for. `PAUSED`: due while the DAG was paused.",
    ),
  firstDue: Time,
  lastDue: Time,
});
export type DroppedRuns = z.infer<typeof DroppedRuns>;

export const Schedule = z.strictObject({
  id: Id,
  text: z.string().describe("The cron expression, or `every 15m`."),
  words: z.string().describe("The same in English."),
  details: z.array(z.string()).describe("What else there is to know, in sentences."),
  timezone: z.string(),
  endDate: Time.nullable().describe("Nothing is due after it."),
  nextRun: NextRun.nullable().describe(
    "Null while the DAG is paused or its file is missing, and when it is never due again. In the past when no scheduler has come to it.",
  ),
  lastDue: Time.nullable().describe("The last instant that was started, or dropped."),
  dropped: z.array(DroppedRuns).describe("Runs that never started, of the last 30 days, by reason."),
});
export type Schedule = z.infer<typeof Schedule>;

export const DueInPause = z.strictObject({
  runs: z.number().int().describe("Runs that were due since it is paused; of each schedule, 10,000 are counted."),
  madeUp: z.number().int().describe("How many of them start when it is unpaused with `catchUp`."),
});

const ScheduleNote = z.strictObject({
  kind: z.enum(["gap", "overlap", "shifted", "blackout", "jitter", "skipped"]),
  text: z.string(),
});

const UpcomingRun = z.strictObject({ scheduleId: Id, ...fire, notes: z.array(ScheduleNote) });
export type UpcomingRun = z.infer<typeof UpcomingRun>;

export const SchedulePreview = z.strictObject({
  now: Time.describe("The database's clock, after which they are."),
  items: z.array(UpcomingRun),
});
export type SchedulePreview = z.infer<typeof SchedulePreview>;

export const previewSchedule = op({
  method: "GET",
  path: "/dags/{dagId}/next-runs",
  summary: "The next runs of all its schedules with what is special about them, also while it is paused.",
  access: "viewer",
  params: z.strictObject({ dagId: DagId }),
  query: z.strictObject({ count: z.coerce.number().int().min(1).max(100).default(10) }),
  returns: { 200: SchedulePreview },
  errors: ["invalid_request", "unauthenticated", "dag_not_found"],
});
