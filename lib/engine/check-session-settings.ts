import { giveLackingSettings, type GivenSettings } from "#lib/db/session-settings.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { EngineDeps } from "./deps.ts";

/** How often a process looks whether its sessions still have the settings of the role. */
export const SETTINGS_EVERY_MS = 60_000;

/**
 * Returns what looks whether this process's sessions still have what its start has given them. The
 * settings of a role may be reset, and are not on a server that was restored from a dump: without them
 * nothing ends a statement that waits, and plans are others. The role is given them again where it may
 * do that. It is said once, and again when it was right in between.
 */
export function createSettingsCheck({ pool, log }: Pick<EngineDeps, "pool" | "log">): () => Promise<void> {
  let said = "";
  return async () => {
    const given = await giveLackingSettings(pool);
    const { lacking } = given;
    const text = textOf(given);
    if (lacking.length > 0 && text !== said) log.error({ lacking }, text);
    said = lacking.length > 0 ? text : "";
  };
}

function textOf({ lacking, refusal }: GivenSettings): string {
  const lost = `sessions of this role have lost settings that Sluice needs (${lacking.join(", ")})`;
  if (refusal === undefined) return `${lost}; the role was given them again, and these sessions are closed`;
  return `${lost}, and they cannot be given to it: ${messageOf(refusal)}`;
}
