import type { Zone } from "./zone.ts";

/** What clocks of a zone show, with how far they are from UTC, to the second: `2026-03-30T09:00:00+02:00`. */
export function zonedText(zone: Zone, at: Date): string {
  const offset = zone.offsetAt(at.getTime());
  const shown = new Date(at.getTime() + offset).toISOString().slice(0, 19);
  const minutes = Math.round(Math.abs(offset) / 60_000);
  const parts = [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, "0"));
  return `${shown}${offset < 0 ? "-" : "+"}${parts.join(":")}`;
}
