import type { EngineDeps } from "./deps.ts";

/** Stands among the names of lanes on `sluice_tasks`: attempts were taken away, look whether they were yours. */
export const FENCED = "*fenced";

/** Lets every worker ask at once what it still holds, instead of at its next heartbeat. */
export function announceFenced(deps: EngineDeps): void {
  deps.notifier.announce("sluice_tasks", [FENCED]);
}
