import { formatTime } from "./format.ts";

/** A moment in UTC, or only its time of day; the pointer shows it in full. */
export function Time({ at, clockOnly = false }: { at: string | null; clockOnly?: boolean }) {
  if (at === null) return <span className="text-ink-soft">–</span>;
  return (
    <time dateTime={at} title={`${at} (UTC)`} className="whitespace-nowrap tabular-nums">
      {clockOnly ? formatTime(at).slice(11) : formatTime(at)}
    </time>
  );
}
