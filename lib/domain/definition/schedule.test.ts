import { expect, test } from "vitest";
import { parseDefinition } from "./parse.ts";

function problems(text: string): string[] {
  const result = parseDefinition(`id: a\n${text}\ntasks: [{ id: x, noop: {} }]\n`, "x.yaml");
  return result.ok ? [] : result.problems.map((p) => `${p.line}:${p.column} ${p.message}`);
}

const HOLIDAYS = "calendars: { holidays: { dates: [12-25 Christmas Day, 2026-05-14] } }";

test.for([
  ['schedule: "0 9 * * 1-5"'],
  ['schedule: ["0 9 * * *", { every: 15m, anchor: 2026-01-01T00:10:00Z }]'],
  [`schedule: { cron: "@daily", timezone: Asia/Kathmandu, jitter: 5m }\n${HOLIDAYS}`],
  [`schedule: { cron: "@daily", calendar: { except: [holidays, weekends], shift: next } }\n${HOLIDAYS}`],
  ['schedule: { every: 1h, blackout: { windows: [{ from: "22:00", to: "24:00" }], action: once } }'],
  ['schedule: "0 0 29 2 *"\nstartDate: 2026-01-01\nendDate: 2028-02-29'],
  ['schedule: "@daily"\ncatchup: { policy: all, max: 20 }'],
  ["catchup: { policy: latest }"],
  ["params: { day: {} }"],
] as const)("%s is right", ([text]) => {
  expect(problems(text)).toEqual([]);
});

test.for([
  ['schedule: "0 25 * * *"', '2:11 schedule: the hour field has "25": hours go from 0 to 23'],
  [
    'schedule:\n  - "0 9 * * *"\n  - { cron: "0 0 30 2 *" }',
    '4:13 schedule[1].cron: it never fires: no year has a day of month "30" in month "2"',
  ],
  [
    'schedule: "0 9 * * *"\ntimezone: Europe/Berln',
    '3:11 timezone: "Europe/Berln" is no IANA time zone; did you mean "Europe/Berlin"?',
  ],
  [
    'schedule: { every: 1h, timezone: "+02:00" }',
    '2:34 schedule.timezone: "+02:00" is an offset, which knows no daylight saving; name a zone like Europe/Berlin, or UTC',
  ],
  [
    `schedule: { cron: "@daily", calendar: { except: [holydays] } }\n${HOLIDAYS}`,
    '2:50 schedule.calendar.except[0]: there is no calendar "holydays"; did you mean "holidays"?',
  ],
  [
    'schedule:\n  - "@daily"\n  - { cron: "@daily", calendar: { only: [banking] } }',
    '4:42 schedule[1].calendar.only[0]: there is no calendar "banking"; there are weekends; others go under calendars',
  ],
  [
    "schedule: { every: 15m, calendar: { except: [weekends], shift: next } }",
    "2:64 schedule.calendar.shift: an interval has no days that could be moved; write a cron expression, or leave shift out",
  ],
  [
    'schedule: { cron: "0 0 * * 6", calendar: { except: [weekends] } }',
    "2:42 schedule.calendar: it never fires: its calendars leave out every day on which it would be due",
  ],
  [
    'schedule: { cron: "0 23 * * *", blackout: { windows: [{ from: "22:00", to: "06:00" }] } }',
    "2:43 schedule.blackout: it never fires: every time at which it would be due is in its blackout",
  ],
  [
    'schedule: { cron: "@daily", blackout: { windows: [{ from: "00:00", to: "24:00" }], action: delay } }',
    "2:39 schedule.blackout: it never fires: every time at which it would be due is in its blackout",
  ],
  [
    'schedule: { cron: "@daily", blackout: { windows: [{ from: "25:00", to: "06:00" }] } }',
    '2:59 schedule.blackout.windows[0].from: must be a time of day like "22:30", up to "24:00"',
  ],
  [
    'schedule: { cron: "@daily", blackout: { windows: [{ from: "06:00", to: "06:00" }] } }',
    "2:51 schedule.blackout.windows[0]: from and to are the same; for a whole day write 00:00 and 24:00",
  ],
  [
    "schedule: { every: 1h, blackout: { windows: [{ start: 2026-01-02, end: 2026-01-01 }] } }",
    "2:46 schedule.blackout.windows[0]: end must be after start",
  ],
  [
    'schedule: "0 0 29 2 *"\nstartDate: 2026-01-01\nendDate: 2027-01-01',
    "2:11 schedule: it never fires: its first time after startDate is 2028-02-29T00:00:00.000Z, which is after endDate",
  ],
  [
    'schedule: "@daily"\nstartDate: 2027-01-01\nendDate: 2026-01-01',
    "4:10 endDate: endDate must be after startDate (2027-01-01T00:00:00.000Z)",
  ],
  [
    "calendars: { holidays: { dates: [2026-02-30] } }",
    "2:34 calendars.holidays.dates[0]: must be a date like 2026-12-24, or a day of every year like 12-25, with a name behind it if you like: 12-25 Christmas Day",
  ],
  [
    'schedule: "@daily"\nparams: { day: { type: string } }',
    '3:16 params.day: a run that a schedule starts is given no params, so "day" needs a default',
  ],
  ["catchup: { policy: all, max: 0 }", expect.stringContaining("max")],
  ["catchup: { policy: latest, max: 3 }", "2:33 catchup.max: max is a limit of policy all; leave it out"],
  ["catchup: some", expect.stringContaining('"none"')],
  ["calendars: { holidays: {} }", "2:24 calendars.holidays: a calendar has at least one day, under weekdays or dates"],
  ["schedule: { every: 1h, calendar: {} }", "2:34 schedule.calendar: must have only or except"],
  [
    'schedule: { cron: "@daily", jitter: 5ms }',
    expect.stringMatching(/^2:37 schedule.jitter: must be a duration .* at least 1s$/),
  ],
] as const)("%s is refused at its place", ([text, message]) => {
  expect(problems(text)).toEqual([message]);
});

test("made to take long is refused in time", () => {
  const days = Array.from({ length: 364 }, (_, day) => new Date(Date.UTC(2026, 0, 2 + day)).toISOString().slice(5, 10));
  const calendars = { most: { dates: days } };
  const windows = Array.from({ length: 64 }, (_, index) => {
    const [from, to] = [index, index + 1].map((one) => new Date(one * 22 * 60_000).toISOString().slice(11, 16));
    return { from, to };
  });
  const many = (one: object): string => `schedule: ${JSON.stringify(Array.from({ length: 32 }, () => one))}`;
  const files = [
    `calendars: ${JSON.stringify(calendars)}\n${many({ cron: "* * 2 1 *", calendar: { except: ["most"] } })}`,
    `calendars: ${JSON.stringify(calendars)}\n${many({ cron: "* * * * *", calendar: { except: ["most"], shift: "next" } })}`,
    `calendars: ${JSON.stringify(calendars)}\n${many({ every: "7d", calendar: { except: ["most"] } })}`,
    many({ cron: "* * 12 * * *", blackout: { windows } }),
    many({ cron: "0 0 30 2 *" }),
  ];
  const before = process.cpuUsage();
  const counts = files.map((file) => problems(file).length);
  expect(counts).toEqual([3, 0, 0, 3, 32]);
  expect(process.cpuUsage(before).user / 1_000).toBeLessThan(3_000);
});
