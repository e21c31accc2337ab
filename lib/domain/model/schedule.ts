import { CronExpressionParser } from "cron-parser";
import { z } from "zod";
import { Duration } from "./duration.ts";

/** When a DAG's runs are due. The mathematics of fires is not here: this is what may be written. */

function cronProblem(expression: string): string | undefined {
  const fields = expression.trim().split(/\s+/).length;
  if (!expression.startsWith("@") && fields !== 5 && fields !== 6) {
    return `a cron expression has 5 fields (minute hour day month weekday) or 6 with seconds first; this has ${fields}`;
  }
  try {
    CronExpressionParser.parse(expression, { currentDate: new Date(0), tz: "UTC" }).next();
    return undefined;
  } catch (error) {
    return `not a cron expression that ever fires: ${error instanceof Error ? error.message : String(error)}`;
  }
}

export const Cron = z
  .string()
  .max(256)
  .superRefine((text, context) => {
    const problem = cronProblem(text);
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
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

export const Timezone = z.string().refine(isTimezone, "must be an IANA time zone like Europe/Berlin or UTC");

function isTimezone(name: string): boolean {
  // Offsets like +02:00 are accepted by Intl, but know no daylight saving: they are not zones.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

const Jitter = Duration().optional().describe("Each fire is late by a random time up to this.");

const CronSchedule = z.strictObject({
  cron: Cron.describe("5 fields, 6 with seconds first, or a name such as `@daily`."),
  jitter: Jitter,
});

const IntervalSchedule = z.strictObject({
  every: Duration(1_000).describe("Time from one fire to the next."),
  anchor: Instant.optional().describe("One of the fires; without it, fires fall on multiples since 1970-01-01 UTC."),
  jitter: Jitter,
});

const One = z.union([CronSchedule, IntervalSchedule]);
const Sugared = z.union([Cron.transform((cron) => ({ cron })), CronSchedule, IntervalSchedule]);

/** One schedule or several; a text is a cron expression. Kept as a list. */
export const Schedule = z
  .union([Cron.transform((cron) => [{ cron }]), One.transform((one) => [one]), z.array(Sugared).max(32)])
  .default([]);
