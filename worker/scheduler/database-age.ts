import { readDatabaseAge } from "#lib/db/database-age.ts";
import { ageFindings } from "#lib/domain/database-age.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { createAgeGauges } from "#lib/obs/database-age.ts";

/**
 * Returns the duty that measures the database's age: it sets the gauges, and warns when something
 * passes its bound. What has been said is said again when it has changed its kind or has been away
 * in between, not at every pass.
 */
export function createAgeCheck(
  deps: Pick<EngineDeps, "pool" | "log">,
  registry: Parameters<typeof createAgeGauges>[0],
): () => Promise<void> {
  const set = createAgeGauges(registry);
  let said = new Set<string>();
  return async () => {
    const age = await readDatabaseAge(deps.pool);
    set(age);
    const findings = ageFindings(age);
    for (const { id, says } of findings) if (!said.has(id)) deps.log.warn({ check: id, ...age }, says);
    said = new Set(findings.map(({ id }) => id));
  };
}
