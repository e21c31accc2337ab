import { formatDuration } from "../model/duration.ts";
import { dayText } from "./calendar-date.ts";
import type { CompiledSchedule, Fire, Parts } from "./compile.ts";
import { DAY_MS, localText, placeOf } from "./zone.ts";

/** Why a run is due when it is, where its cron expression or interval alone does not say it. */
export type Note = { kind: "gap" | "overlap" | "shifted" | "blackout" | "jitter" | "skipped"; text: string };

/** More are told by their number. */
const MAX_NAMED = 3;

/** What is special about a run's time. */
export function notesOf({ parts }: CompiledSchedule, fire: Fire): Note[] {
  const due = fire.due.getTime();
  return [...gapNotes(parts, due), ...overlapNotes(parts, due), ...shiftNotes(parts, due), ...startNotes(parts, fire)];
}

const localOf = ({ zone }: Parts, at: number): number => at + zone.offsetAt(at);

function gapNotes({ zone, cron }: Parts, due: number): Note[] {
  const change = zone.changesIn(due - 1, due)[0];
  if (cron === undefined || cron.cron.isWildcard || change === undefined || change.after < change.before) return [];
  const [from, to] = [due + change.before, due + change.after];
  const missing: string[] = [];
  let local = cron.times.next(from);
  for (; local !== undefined && local < to && missing.length < MAX_NAMED; local = cron.times.next(local + 1))
    missing.push(timeText(local, to));
  if (missing.length === 0) return [];
  const names = listed(missing, local !== undefined && local < to);
  const isOwn = cron.times.next(to) === to;
  const text = isOwn ? `DST gap: also stands for ${names}` : `DST gap: moved from ${names}`;
  return [{ kind: "gap", text }];
}

/** With its date where that is not the one of `near`. */
function timeText(local: number, near: number): string {
  const text = localText(local);
  return Math.floor(local / DAY_MS) === Math.floor(near / DAY_MS) ? text.slice(11) : text;
}

function listed(names: readonly string[], isMore: boolean): string {
  return `${names.join(", ")}${isMore ? " and more" : ""}`;
}

function overlapNotes(parts: Parts, due: number): Note[] {
  const local = localOf(parts, due);
  const { first, last } = placeOf(parts.zone, local);
  if (first === last) return [];
  const pass = due === first ? "first" : "second";
  const text = `DST overlap: ${localText(local).slice(11)} comes twice, this is the ${pass} time`;
  return [{ kind: "overlap", text: parts.cron?.cron.isWildcard === false ? `${text} and the only run` : text }];
}

function shiftNotes(parts: Parts, due: number): Note[] {
  const { cron, isClosedDay } = parts;
  if (cron?.days === undefined) return [];
  const day = Math.floor(localOf(parts, due) / DAY_MS);
  const from = cron.days.movedTo(day);
  if (from.length === 0) return [];
  const names = from.slice(0, MAX_NAMED).map((one) => `${dayText(one)} (${isClosedDay?.(one)})`);
  const all = listed(names, from.length > MAX_NAMED);
  return [{ kind: "shifted", text: cron.plainDays.has(day) ? `also stands for ${all}` : `shifted from ${all}` }];
}

function startNotes({ blackout, zone }: Parts, { due, at }: Fire): Note[] {
  const notes: Note[] = [];
  const begin = blackout === undefined ? due.getTime() : blackout.regions.endOf(due.getTime());
  if (begin > due.getTime()) {
    const until = localText(begin + zone.offsetAt(begin));
    const text =
      blackout?.action === "once"
        ? `the last one due in a blackout, delayed until ${until}`
        : `in a blackout, delayed until ${until}`;
    notes.push({ kind: "blackout", text });
  }
  if (at.getTime() > begin)
    notes.push({ kind: "jitter", text: `${formatDuration(at.getTime() - begin)} late by jitter` });
  return notes;
}

/** So many left-out times are looked at between two runs. */
const MAX_SKIPPED = 1_000;

/** What calendars and blackouts left out between a run and the one before. */
export function skippedNotes({ parts }: CompiledSchedule, { interval }: Fire): Note[] {
  const { plain, kept } = parts;
  if (plain === kept) return [];
  const groups: { reason: string; times: number[] }[] = [];
  let seen = 0;
  for (
    let at = plain.next(interval.start.getTime());
    at !== undefined && at < interval.end.getTime();
    at = plain.next(at)
  ) {
    if (++seen > MAX_SKIPPED) break;
    const reason = whySkipped(parts, at);
    const group = groups.at(-1);
    if (reason === undefined) continue;
    if (group?.reason === reason) group.times.push(at);
    else groups.push({ reason, times: [at] });
  }
  const isMore = seen > MAX_SKIPPED;
  return groups.map(({ reason, times }, index) =>
    skippedNote(parts, reason, times, isMore && index === groups.length - 1),
  );
}

/** Undefined for what is not left out but moved to another day. */
function whySkipped(parts: Parts, at: number): string | undefined {
  const name = parts.isClosedDay?.(Math.floor(localOf(parts, at) / DAY_MS));
  if (name !== undefined) return parts.shift === undefined ? name : undefined;
  if (parts.blackout?.regions.isClosed(at) !== true) return undefined;
  return parts.blackout.action === "once" ? "blackout, only the last one counts" : "blackout";
}

function skippedNote(parts: Parts, reason: string, times: readonly number[], isMore: boolean): Note {
  const first = localText(localOf(parts, times[0]!));
  const last = localText(localOf(parts, times.at(-1)!));
  const what = times.length === 1 ? first : `${times.length}${isMore ? " and more" : ""} from ${first} to ${last}`;
  return { kind: "skipped", text: `skipped ${what}: ${reason}` };
}
