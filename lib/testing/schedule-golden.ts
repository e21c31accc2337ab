/**
 * When some cron expressions are due in thirty zones from 2011 to 2020, by looking at a clock every minute:
 * `node lib/testing/schedule-golden.ts` writes `schedule-golden.txt`, in some minutes. It shares nothing with the code
 * under test: the clock is Intl's, the rules are written out again here.
 */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

const FILE = path.resolve(import.meta.dirname, "schedule-golden.txt");

/** In minutes since 1970 UTC. */
export const GOLDEN_FROM = Date.UTC(2011, 0, 1) / 60_000;
export const GOLDEN_TO = Date.UTC(2021, 0, 1) / 60_000;

const ZONES = [
  "Africa/Cairo",
  "Africa/Casablanca",
  "America/Anchorage",
  "America/Asuncion",
  "America/Caracas",
  "America/Havana",
  "America/Los_Angeles",
  "America/New_York",
  "America/Nuuk",
  "America/Santiago",
  "America/Sao_Paulo",
  "America/St_Johns",
  "Antarctica/Troll",
  "Asia/Amman",
  "Asia/Beirut",
  "Asia/Gaza",
  "Asia/Kathmandu",
  "Asia/Pyongyang",
  "Asia/Tehran",
  "Atlantic/Azores",
  "Australia/Adelaide",
  "Australia/Lord_Howe",
  "Europe/Berlin",
  "Europe/Dublin",
  "Europe/Istanbul",
  "Europe/Moscow",
  "Pacific/Apia",
  "Pacific/Auckland",
  "Pacific/Chatham",
  "Pacific/Fiji",
];

type Time = { minute: number; hour: number; weekday: number };
type Job = { cron: string; isWildcard: boolean; matches: (time: Time) => boolean };

const JOBS: readonly Job[] = [
  { cron: "0 0 * * *", isWildcard: false, matches: ({ minute, hour }) => minute === 0 && hour === 0 },
  {
    cron: "15,45 1,2 * * *",
    isWildcard: false,
    matches: (t) => t.minute % 30 === 15 && (t.hour === 1 || t.hour === 2),
  },
  {
    cron: "0 9 * * 1-5",
    isWildcard: false,
    matches: (t) => t.minute === 0 && t.hour === 9 && t.weekday !== 0 && t.weekday !== 6,
  },
  { cron: "*/30 1 * * *", isWildcard: true, matches: (t) => t.minute % 30 === 0 && t.hour === 1 },
  { cron: "0 */2 * * *", isWildcard: true, matches: (t) => t.minute === 0 && t.hour % 2 === 0 },
  { cron: "20 * * * *", isWildcard: true, matches: ({ minute }) => minute === 20 },
];

/** What a clock in the zone shows, as minutes since 1970. */
export function clockOf(zone: string): (utcMinute: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  });
  return (utcMinute) => {
    const shown = format.format(utcMinute * 60_000);
    const [, month, day, year, hour, minute] = /^(\d\d)\/(\d\d)\/(\d{4}), (\d\d):(\d\d)$/.exec(shown)!.map(Number);
    return Date.UTC(year!, month! - 1, day, hour, minute) / 60_000;
  };
}

const timeOf = (shown: number): Time => ({
  minute: shown % 60,
  hour: Math.floor(shown / 60) % 24,
  weekday: (Math.floor(shown / 1_440) + 4) % 7,
});

/** Looks at the zone's clock in every minute of [from, to). */
export function scan(zone: string, from: number, to: number): Map<string, number[]> {
  const clock = clockOf(zone);
  const due = new Map<string, number[]>(JOBS.map(({ cron }) => [cron, []]));
  let latest = clock(from - 1);
  for (let now = from; now < to; now++) {
    const shown = clock(now);
    // More than one where clocks were set forward, none where they were set back.
    const fresh: Time[] = [];
    for (let one = latest + 1; one <= shown; one++) fresh.push(timeOf(one));
    latest = Math.max(latest, shown);
    for (const { cron, isWildcard, matches } of JOBS) {
      if (isWildcard ? matches(timeOf(shown)) : fresh.some(matches)) due.get(cron)!.push(now);
    }
  }
  return due;
}

/** Minutes from one to the next, with repetitions written once: `1440*86 1380 (30 1410)*12`. */
function packed(due: readonly number[]): string {
  const steps = due.slice(1).map((one, index) => one - due[index]!);
  const words: string[] = [];
  for (let at = 0; at < steps.length;) {
    let [size, times] = [1, 1];
    for (let length = 1; length <= 5; length++) {
      let count = 1;
      while (steps[at + count * length] !== undefined && isSame(steps, at, at + count * length, length)) count++;
      if (count * length > size * times && count > 1) [size, times] = [length, count];
    }
    const block = steps.slice(at, at + size).join(" ");
    words.push(times === 1 ? block : size === 1 ? `${block}*${times}` : `(${block})*${times}`);
    at += size * times;
  }
  return words.join(" ");
}

function isSame(steps: readonly number[], a: number, b: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (steps[a + index] !== steps[b + index]) return false;
  return true;
}

function unpacked(first: number, text: string): number[] {
  const due = [first];
  for (const [, block, single, times] of text.matchAll(/(?:\(([\d ]+)\)|(\d+))(?:\*(\d+))?/g)) {
    const steps = (block ?? single!).split(" ").map(Number);
    for (let time = 0; time < Number(times ?? 1); time++) for (const step of steps) due.push(due.at(-1)! + step);
  }
  return due;
}

export type Golden = { zone: string; cron: string; due: readonly number[] };

/** The tables as they are kept: one line for each zone and expression, the first instant and the steps from there. */
export function readGolden(): Golden[] {
  const lines = readFileSync(FILE, "utf8").trim().split("\n");
  return lines.map((line) => {
    const [zone, cron, first, steps] = line.split("\t");
    return { zone: zone!, cron: cron!, due: unpacked(Date.parse(`${first!}Z`) / 60_000, steps!) };
  });
}

if (import.meta.main) {
  const lines = ZONES.flatMap((zone) => {
    const due = scan(zone, GOLDEN_FROM, GOLDEN_TO);
    return [...due].map(([cron, at]) =>
      [zone, cron, new Date(at[0]! * 60_000).toISOString().slice(0, 16), packed(at)].join("\t"),
    );
  });
  writeFileSync(FILE, `${lines.join("\n")}\n`);
}
