import fc from "fast-check";
import { expect, test } from "vitest";
import { clockOf } from "#lib/testing/schedule-golden.ts";
import { backwards, forwards, seriesOf } from "#lib/testing/schedule-walk.ts";
import { zoneOf } from "../zone.ts";
import { parseCron } from "./parse-cron.ts";

const MINUTE = 60_000;

/** A field as text, with what it means said a second time. */
type Said<T> = { text: string; means: (value: T) => boolean; isEvery: boolean; hasStar: boolean };

const plain = <T>(text: string, means: (value: T) => boolean): Said<T> => ({
  text,
  means,
  isEvery: false,
  hasStar: false,
});

const star = <T>(text: string, means: (value: T) => boolean): Said<T> => ({
  text,
  means,
  isEvery: true,
  hasStar: true,
});

/** Of a field that goes from `min` to `max`, with values up to `most` only. */
function numbers(min: number, max: number, most = max): fc.Arbitrary<Said<number>> {
  const value = fc.integer({ min, max: most });
  return fc.oneof(
    fc.constant(star("*", () => true)),
    fc.integer({ min: 1, max: max - min }).map((step) => star<number>(`*/${step}`, (one) => (one - min) % step === 0)),
    value.map((given) => plain<number>(String(given), (one) => one === given)),
    fc.tuple(value, value).map(([a, b]) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      const range = plain(`${low}-${high}`, (one: number) => one >= low && one <= high);
      return { ...range, isEvery: low === min && high === max };
    }),
    fc
      .uniqueArray(value, { minLength: 2, maxLength: 4 })
      .map((list) => plain<number>(list.join(","), (one) => list.includes(one))),
  );
}

type Day = { year: number; month: number; date: number; weekday: number; length: number };

const dates = fc.oneof(
  numbers(1, 31).map((said): Said<Day> => ({ ...said, means: ({ date }) => said.means(date) })),
  fc.constant(plain<Day>("L", ({ date, length }) => date === length)),
  fc.constant(plain<Day>("L-2", ({ date, length }) => date === length - 2)),
  fc.constant(plain<Day>("LW", (day) => day.date === nearest(day, day.length))),
  fc
    .integer({ min: 1, max: 31 })
    .map((n) => plain<Day>(`${n}W`, (day) => n <= day.length && day.date === nearest(day, n))),
);

const weekdays = fc.oneof(
  numbers(0, 6).map((said): Said<Day> => ({ ...said, means: ({ weekday }) => said.means(weekday) })),
  fc
    .tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 1, max: 5 }))
    .map(([day, n]) => plain<Day>(`${day}#${n}`, (one) => one.weekday === day && Math.ceil(one.date / 7) === n)),
  fc
    .integer({ min: 0, max: 6 })
    .map((day) => plain<Day>(`${day}L`, (one) => one.weekday === day && one.date + 7 > one.length)),
);

/** The date of a Monday to Friday of this month that is nearest to a date. */
function nearest({ year, month, length }: Day, date: number): number {
  const all = Array.from({ length }, (_, index) => index + 1);
  const working = all.filter((one) => ![0, 6].includes(new Date(Date.UTC(year, month - 1, one)).getUTCDay()));
  return working.toSorted((a, b) => Math.abs(a - date) - Math.abs(b - date))[0]!;
}

const EVERY_DAY = { dates: star<Day>("*", () => true), weekdays: star<Day>("*", () => true) };
/** Most are about the time of day, because that is what clock changes are about. */
const days = fc.oneof(
  { arbitrary: fc.constant(EVERY_DAY), weight: 2 },
  { arbitrary: fc.record({ dates, weekdays }), weight: 1 },
);

type Job = { minute: Said<number>; hour: Said<number>; days: { dates: Said<Day>; weekdays: Said<Day> } };

function isMeant({ minute, hour, days: { dates: date, weekdays: weekday } }: Job, shown: number): boolean {
  if (!minute.means(shown % 60) || !hour.means(Math.floor(shown / 60) % 24)) return false;
  const at = new Date(shown * MINUTE);
  const [year, month] = [at.getUTCFullYear(), at.getUTCMonth() + 1];
  const length = new Date(Date.UTC(year, month, 0)).getUTCDate();
  const day = { year, month, date: at.getUTCDate(), weekday: at.getUTCDay(), length };
  return date.hasStar || weekday.hasStar
    ? date.means(day) && weekday.means(day)
    : date.means(day) || weekday.means(day);
}

/** Looks at the clock every minute. */
function looked(job: Job, zone: string, from: number, to: number): number[] {
  const isWildcard = job.minute.isEvery || job.hour.isEvery;
  const clock = clockOf(zone);
  const due: number[] = [];
  let latest = clock(from - 1);
  for (let now = from; now < to; now++) {
    const shown = clock(now);
    let isDue = isWildcard && isMeant(job, shown);
    for (let one = latest + 1; one <= shown && !isWildcard; one++) isDue ||= isMeant(job, one);
    latest = Math.max(latest, shown);
    if (isDue) due.push(now);
  }
  return due;
}

const ZONES = [
  "Europe/Berlin",
  "America/New_York",
  "America/Havana",
  "Atlantic/Azores",
  "Australia/Lord_Howe",
  "Antarctica/Troll",
  "America/Santiago",
  "Asia/Gaza",
  "Africa/Casablanca",
  "Asia/Beirut",
  "Pacific/Apia",
  "America/Nuuk",
];

/** What clocks in Berlin show at each time that is due on a day, as docs/schedules.md has it. */
function inBerlin(cron: string, date: string): string {
  const zone = zoneOf("Europe/Berlin");
  const from = Date.parse(`${date}T00:00Z`) - zone.offsetAt(Date.parse(`${date}T00:00Z`));
  const series = seriesOf(cron, "Europe/Berlin");
  const shown: string[] = [];
  for (let at = series.next(from - 1); at !== undefined && at < from + 5 * 60 * MINUTE; at = series.next(at))
    shown.push(new Date(at + zone.offsetAt(at)).toISOString().slice(11, 19).replace(/:00$/, ""));
  return shown.join(" ");
}

test.for([
  ["30 2 * * *", "03:00", "02:30"],
  ["0,30 2 * * *", "03:00", "02:00 02:30"],
  ["0 2,14 * * *", "03:00", "02:00"],
  ["*/30 2 * * *", "", "02:00 02:30 02:00 02:30"],
  ["0 */2 * * *", "00:00 04:00", "00:00 02:00 02:00"],
  ["0 * * * *", "00:00 01:00 03:00 04:00 05:00", "00:00 01:00 02:00 02:00 03:00"],
  ["*/10 30 2 * * *", "03:00", "02:30 02:30:10 02:30:20 02:30:30 02:30:40 02:30:50"],
] as const)("%s in the first hours of the days of change in Berlin", ([cron, spring, autumn]) => {
  expect([inBerlin(cron, "2026-03-29"), inBerlin(cron, "2026-10-25")]).toEqual([spring, autumn]);
});

/** The minute of an instant, if it was looked at. */
function within(from: number, to: number, at: number | undefined): number | undefined {
  return at === undefined || at < from * MINUTE || at >= to * MINUTE ? undefined : at / MINUTE;
}

test("any expression is due around a clock change when one who looks every minute says so", () => {
  let isEmpty = 0;
  fc.assert(
    fc.property(
      fc.record({ minute: numbers(0, 59), hour: fc.oneof(numbers(0, 23), numbers(0, 23, 3)), days }),
      fc.constantFrom(...ZONES),
      fc.nat(100),
      (job, name, pick) => {
        const zone = zoneOf(name);
        const changes = zone.changesIn(Date.UTC(2005, 0, 1), Date.UTC(2035, 0, 1));
        const change = changes[pick % changes.length]!.at / MINUTE;
        const [from, to] = [change - 400, change + 1_500];
        const text = `${job.minute.text} ${job.hour.text} ${job.days.dates.text} * ${job.days.weekdays.text}`;
        const read = parseCron(text);
        const expected = looked(job, name, from, to);
        if (expected.length === 0) isEmpty++;
        if (!read.ok) {
          expect([text, expected, read.message]).toEqual([text, [], expect.stringContaining("never fires")]);
          return;
        }
        const series = seriesOf(text, name);
        expect([text, name, forwards(series, from, to)]).toEqual([text, name, expected]);
        expect([text, name, backwards(series, from, to)]).toEqual([text, name, expected]);
        // From any point, and not only from one fire to the next.
        for (let now = from; now < to; now += 25) {
          const [next, prev] = [series.next(now * MINUTE), series.prev(now * MINUTE)].map((at) => within(from, to, at));
          expect([text, name, now, next]).toEqual([text, name, now, expected.find((one) => one > now)]);
          expect([text, name, now, prev]).toEqual([text, name, now, expected.findLast((one) => one < now)]);
        }
      },
    ),
    { numRuns: 80 },
  );
  expect(isEmpty).toBeLessThan(60);
}, 30_000);
