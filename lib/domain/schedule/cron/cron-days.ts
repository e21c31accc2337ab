/** The days that a cron expression names, month by month. A set of days is a number whose bit n is the n-th day. */

export type DayRule = {
  daysOfMonth: number;
  /** Days counted from the end of the month: 0 is the last one. */
  fromEnd: readonly number[];
  /** The weekday (Monday to Friday) nearest to this day, or the last one of the month. */
  nearestWeekday: number | "last" | undefined;
  /** Bits 0 (Sunday) to 6. */
  weekdays: number;
  /** The n-th such weekday of the month; 0 is the last one. */
  nth: readonly { weekday: number; n: number }[];
  /** Whether a day must be in both fields; otherwise one is enough. */
  isBoth: boolean;
  /** Bits 1 to 12. */
  months: number;
};

/** The days of a month (from 1) that the rule names. */
export function daysOf(rule: DayRule, year: number, month: number): number {
  if ((rule.months & (1 << month)) === 0) return 0;
  const length = new Date(Date.UTC(year, month, 0)).getUTCDate();
  const firstWeekday = new Date(Date.UTC(year, month - 1, 1)).getUTCDay();
  const byDate = byDayOfMonth(rule, length, firstWeekday);
  const byWeekday = byDayOfWeek(rule, length, firstWeekday);
  return rule.isBoth ? byDate & byWeekday : byDate | byWeekday;
}

/** Bits 1 to `length`. */
const all = (length: number): number => 2 ** (length + 1) - 2;

function byDayOfMonth({ daysOfMonth, fromEnd, nearestWeekday }: DayRule, length: number, firstWeekday: number): number {
  let days = daysOfMonth & all(length);
  for (const back of fromEnd) if (back < length) days |= 1 << (length - back);
  if (nearestWeekday === undefined) return days;
  const day = nearestWeekday === "last" ? length : nearestWeekday;
  if (day > length) return days;
  const weekday = (firstWeekday + day - 1) % 7;
  return days | (1 << (day + toWeekday(weekday, day, length, nearestWeekday === "last")));
}

/** How far a weekday is from a day, without leaving the month. */
function toWeekday(weekday: number, day: number, length: number, isBack: boolean): number {
  if (weekday === 6) return day === 1 ? 2 : -1;
  if (weekday === 0) return isBack || day === length ? -2 : 1;
  return 0;
}

function byDayOfWeek({ weekdays, nth }: DayRule, length: number, firstWeekday: number): number {
  let days = 0;
  for (let day = 1; day <= length; day++) {
    const weekday = (firstWeekday + day - 1) % 7;
    if ((weekdays & (1 << weekday)) !== 0) days |= 1 << day;
  }
  for (const one of nth) {
    const first = 1 + ((one.weekday - firstWeekday + 7) % 7);
    const day = one.n === 0 ? first + 7 * Math.floor((length - first) / 7) : first + 7 * (one.n - 1);
    if (day <= length) days |= 1 << day;
  }
  return days;
}
