import { z } from "zod";
import { MAX_CRON_LENGTH, parseCron } from "../schedule/cron/parse-cron.ts";
import { zoneProblem } from "../schedule/zone-name.ts";
import { CalendarUse, WEEKDAY_NAMES } from "./calendar.ts";
import { Duration } from "./duration.ts";

/** When a DAG's runs are due, as it is written; `lib/domain/schedule` computes with it. */

export const Cron = z
  .string()
  .max(MAX_CRON_LENGTH)
  .superRefine((text, context) => {
    const cron = parseCron(text);
    if (!cron.ok) context.addIssue({ code: "custom", message: cron.message });
  });

/** RFC 3339 with an offset, or a plain date at midnight UTC; kept as UTC. */
export const Instant = z
  .string()
  .refine((text) => instantOf(text) !== undefined, {
    message: "must be a date like 2026-01-31, or an instant with its offset like 2026-01-31T06:00:00Z",
    abort: true,
  })
  .overwrite((text) => instantOf(text) ?? text);

const DATE = /^\d{4}-\d{2}-\d{2}$/;
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/;

function instantOf(text: string): string | undefined {
  if (!DATE.test(text) && !INSTANT.test(text)) return undefined;
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) return undefined;
  const iso = new Date(ms).toISOString();
  // Date.parse rolls 2026-02-31 over into March.
  return DATE.test(text) && !iso.startsWith(text) ? undefined : iso;
}

export const Timezone = z.string().superRefine((name, context) => {
  const problem = zoneProblem(name);
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
});

/** What happens to runs that are due in a blackout. */
export const BLACKOUT_ACTIONS = ["skip", "delay", "once"] as const;

const TimeOfDay = z
  .string()
  .regex(/^(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00)$/, 'must be a time of day like "22:30", up to "24:00"');

const DailyWindow = z
  .strictObject({
    from: TimeOfDay.describe("When it begins, in the schedule's time zone."),
    to: TimeOfDay.describe("When it ends; a time that is not after `from` is one of the next day."),
    days: z
      .array(z.enum(WEEKDAY_NAMES))
      .min(1)
      .max(7)
      .optional()
      .describe("Days on which it begins; every day without it."),
  })
  .refine(({ from, to }) => from !== to, "from and to are the same; for a whole day write 00:00 and 24:00")
  .refine(({ from }) => from !== "24:00", "from cannot be 24:00; write 00:00");

const OneWindow = z
  .strictObject({
    start: Instant.describe("When it begins."),
    end: Instant.describe("When it ends."),
  })
  .refine(({ start, end }) => start < end, "end must be after start");

export const Blackout = z.strictObject({
  windows: z
    .array(z.union([DailyWindow, OneWindow]))
    .min(1, "a blackout has at least one window")
    .max(64)
    .describe("Times of day with `from`, `to` and, if wished, `days`; or stretches of time with `start` and `end`."),
  action: z
    .enum(BLACKOUT_ACTIONS)
    .optional()
    .describe(
      "`skip` (which is the default) leaves runs out that are due in a window, `delay` starts each of them when it ends, `once` starts the last of them when it ends.",
    ),
});
export type Blackout = z.output<typeof Blackout>;

const common = {
  timezone: Timezone.optional().describe("The zone of this schedule, when it is not the DAG's."),
  calendar: CalendarUse.optional().describe("Days on which runs may be due."),
  blackout: Blackout.optional().describe("Times in which no run starts."),
  jitter: Duration(1_000)
    .optional()
    .describe(
      "Each run starts late by up to this, always by the same time for the same DAG and instant; never past the next one, nor into a blackout.",
    ),
};

const CronSchedule = z.strictObject({
  cron: Cron.describe("5 fields, 6 with seconds first, or a name such as `@daily`. A schedule has this or `every`."),
  ...common,
});

const IntervalSchedule = z.strictObject({
  every: Duration(1_000).describe("Time from one run to the next."),
  anchor: Instant.optional().describe("One of the times; without it, they fall on multiples since 1970-01-01 UTC."),
  ...common,
});

const One = z.union([CronSchedule, IntervalSchedule]);
export type ScheduleSpec = z.output<typeof One>;
const Sugared = z.union([Cron.transform((cron) => ({ cron })), CronSchedule, IntervalSchedule]);

/** One schedule or several; a text is a cron expression. Kept as a list. */
export const Schedule = z
  .union([Cron.transform((cron) => [{ cron }]), One.transform((one) => [one]), z.array(Sugared).max(32)])
  .default([]);
