import cronstrue from "cronstrue";
import { durationMs, formatDuration } from "../model/duration.ts";
import type { Blackout, ScheduleSpec } from "../model/schedule.ts";
import type { CompiledSchedule } from "./compile.ts";
import type { Cron } from "./cron/parse-cron.ts";

/** A schedule in English: when it is due in one phrase, and what else there is to know in sentences. */
export type Words = { when: string; details: string[] };

export function wordsOf(spec: ScheduleSpec, { parts }: CompiledSchedule): Words {
  const { cron, zone } = parts;
  const rhythm = cron === undefined || !("cron" in spec) ? intervalWords(spec) : cronWords(cron.cron);
  return {
    when: `${rhythm}, in ${zone.name}`,
    details: [
      ...(cron === undefined ? intervalDetails() : cronDetails(cron.cron)),
      ...calendarDetails(spec),
      ...(spec.blackout === undefined ? [] : [blackoutDetail(spec.blackout)]),
      ...(spec.jitter === undefined ? [] : [`Each run starts up to ${spec.jitter} late, spread by DAG and time.`]),
    ],
  };
}

/** A schedule as it is written: its cron expression, or `every 15m`. */
export function expressionOf(spec: ScheduleSpec): string {
  return "cron" in spec ? spec.cron : `every ${spec.every}`;
}

/** `At 09:00, Monday through Friday` */
export function cronWords({ text, days }: Cron): string {
  return cronstrue.toString(text, { use24HourTimeFormat: true, logicalAndDayFields: days.isBoth });
}

function intervalWords(spec: ScheduleSpec): string {
  if (!("every" in spec)) return "";
  const from = spec.anchor === undefined ? "" : `, counted from ${spec.anchor.replace(".000", "")}`;
  return `Every ${spanWords(durationMs(spec.every))}${from}`;
}

const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
] as const;

/** `15 minutes`, `1 day 12 hours` */
function spanWords(ms: number): string {
  let rest = ms;
  const parts = UNITS.flatMap(([name, unit]) => {
    const count = Math.floor(rest / unit);
    rest -= count * unit;
    return count === 0 ? [] : [`${count} ${name}${count === 1 ? "" : "s"}`];
  });
  if (rest !== 0) return formatDuration(ms);
  return parts.length === 1 ? parts[0]!.replace(/^1 /, "") : parts.join(" ");
}

function intervalDetails(): string[] {
  return ["An interval follows real time: where clocks are changed, it is due at other times of day than before."];
}

function cronDetails({ text, isWildcard, days }: Cron): string[] {
  const fields = text.split(" ");
  const [date, , weekday] = fields.slice(-3);
  const areBothGiven = ![date, weekday].some((field) => field === "*" || field === "?");
  return [
    isWildcard
      ? "A wildcard job: it follows real time, and is due whenever clocks show one of its times."
      : "A fixed-time job: a time that is skipped by a clock change is due right after it, one that comes twice is due once.",
    ...(areBothGiven ? [bothFields(days.isBoth)] : []),
    ...unevenSteps(fields.length === 6 ? fields.slice(1) : fields),
  ];
}

function bothFields(isBoth: boolean): string {
  return isBoth
    ? "Both day fields are given, one with an asterisk: a day must be in both."
    : "Both day fields are given, none with an asterisk: a day that is in one of them is enough.";
}

function unevenSteps([minute, hour]: readonly string[]): string[] {
  return [...unevenStep(minute!, 60, "minute", "m", "hour"), ...unevenStep(hour!, 24, "hour", "h", "day")];
}

function unevenStep(field: string, size: number, unit: string, short: string, round: string): string[] {
  const step = Number(/^(?:\*|0|0-59|0-23)\/(\d+)$/.exec(field)?.[1] ?? 1);
  if (size % step === 0) return [];
  const rest = size - Math.floor((size - 1) / step) * step;
  return [
    `The steps of ${field} begin anew every ${round}, ${rest} ${unit}${rest === 1 ? "" : "s"} after the last one. For an even rhythm write every: ${step}${short}.`,
  ];
}

function calendarDetails({ calendar }: ScheduleSpec): string[] {
  if (calendar === undefined) return [];
  const { only, except, shift } = calendar;
  const rules = [
    ...(only === undefined ? [] : [`due only on days of ${only.join(" or ")}`]),
    ...(except === undefined ? [] : [`not due on days of ${except.join(" or ")}`]),
  ].join(", ");
  const otherwise =
    shift === undefined
      ? "what falls on others is left out"
      : `what falls on others is moved to the ${shift} day that is allowed`;
  return [`${rules[0]!.toUpperCase()}${rules.slice(1)}; ${otherwise}.`];
}

const ACTIONS = {
  skip: "are left out",
  delay: "wait until it is over, each of them",
  once: "are left out but for the last one, which waits until it is over",
};

function blackoutDetail({ windows, action }: Blackout): string {
  const names = windows.map((window) => {
    if ("start" in window) return `from ${window.start} to ${window.end}`.replaceAll(".000", "");
    return `from ${window.from} to ${window.to}${window.days === undefined ? "" : ` on ${window.days.join(", ")}`}`;
  });
  return `Runs due ${names.join(", or ")} ${ACTIONS[action ?? "skip"]}.`;
}
