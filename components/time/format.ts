const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `0.42s`, `12s`, `1m 12s`, `3h 04m`. */
export function formatDuration(ms: number): string {
  if (ms < 10 * SECOND) return `${(Math.max(0, ms) / SECOND).toFixed(ms < SECOND ? 2 : 1)}s`;
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)}s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}m ${two(Math.floor((ms % MINUTE) / SECOND))}s`;
  return `${Math.floor(ms / HOUR)}h ${two(Math.floor((ms % HOUR) / MINUTE))}m`;
}

/** `2026-11-23 12:04:05` in UTC: the same text on server and browser. */
export function formatTime(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}`;
}

/** Milliseconds between two ISO times; up to `nowMs` when it has no end yet. */
export function spanMs(startedAt: string, endedAt: string | null, nowMs: number): number {
  return (endedAt === null ? nowMs : Date.parse(endedAt)) - Date.parse(startedAt);
}

/** How far away something is, roughly: `12s`, `5m`, `3h 04m`, `2d 3h`, `45d`. */
export function formatDistance(ms: number): string {
  const days = Math.floor(ms / DAY);
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)}s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}m`;
  if (ms < DAY) return formatDuration(ms);
  return days < 14 ? `${days}d ${Math.floor((ms % DAY) / HOUR)}h` : `${days}d`;
}

const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const;

/** `Wed 2026-03-11 09:00` of an ISO time as its own offset has it, with seconds where there are some. */
export function formatClock(iso: string): string {
  const weekday = WEEKDAYS[new Date(`${iso.slice(0, 10)}T00:00:00Z`).getUTCDay()]!;
  return `${weekday} ${formatTime(iso).slice(0, iso.slice(16, 19) === ":00" ? 16 : 19)}`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
