import { neglectedBackfills } from "#lib/db/backfills.ts";
import type { EngineDeps } from "../deps.ts";
import { isolating } from "../quarantine.ts";
import { advanceBackfill } from "./advance.ts";
import { stopRuns } from "./cancel.ts";

/** Does for backfills what processes that died have left: starts, cancels and ends. */
export async function tendBackfills(deps: EngineDeps): Promise<void> {
  await isolating(
    deps,
    "backfills",
    await neglectedBackfills(deps.pool),
    ({ id }) => id,
    async (some) => {
      for (const { id, state } of some)
        await (state === "cancelling" ? stopRuns(deps, id, "sweep") : advanceBackfill(deps, id));
    },
  );
}
