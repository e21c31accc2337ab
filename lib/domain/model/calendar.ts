import { z } from "zod";
import { dateOfText } from "../schedule/calendar-date.ts";
import { slug, Text } from "./names.ts";

/** Named sets of days, and what a schedule does with them. */

export const WEEKDAY_NAMES = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

export const CalendarName = slug("a calendar's name", 64, "bank-holidays");

/** The calendar of Saturdays and Sundays, which every DAG has unless it defines one of that name. */
export const WEEKENDS = "weekends";

const CalendarDate = Text(160).refine(
  (text) => dateOfText(text) !== undefined,
  "must be a date like 2026-12-24, or a day of every year like 12-25, with a name behind it if you like: 12-25 Christmas Day",
);

export const Calendar = z
  .strictObject({
    weekdays: z.array(z.enum(WEEKDAY_NAMES)).max(7).optional().describe("Days of every week."),
    dates: z
      .array(CalendarDate)
      .max(5_000)
      .optional()
      .describe("Dates like `2026-12-24`, or of every year like `12-25`; a name may follow: `12-25 Christmas Day`."),
  })
  .refine(
    ({ weekdays = [], dates = [] }) => weekdays.length + dates.length > 0,
    "a calendar has at least one day, under weekdays or dates",
  );
export type Calendar = z.output<typeof Calendar>;

export const Calendars = z
  .record(CalendarName, Calendar)
  .refine((calendars) => Object.keys(calendars).length <= 64, "a DAG has at most 64 calendars")
  .default({})
  .describe(
    "Sets of days by name, each with `weekdays` and `dates`, which [schedules](schedules.md) run on or leave out. `weekends` is always there.",
  );

const names = z.array(CalendarName).min(1).max(16).optional();

export const SHIFTS = ["next", "previous"] as const;

export const CalendarUse = z
  .strictObject({
    only: names.describe("Runs are due on days of these calendars only."),
    except: names.describe("No run is due on a day of these calendars."),
    shift: z
      .enum(SHIFTS)
      .optional()
      .describe(
        "A run that would be due on another day is moved to the next or previous day that is allowed, at the same time of day; without it, it is left out.",
      ),
  })
  .refine(({ only, except }) => only !== undefined || except !== undefined, "must have only or except");
export type CalendarUse = z.output<typeof CalendarUse>;
