import { neglectedBackfills } from "#lib/db/backfill/advance.ts";
import type { EngineDeps } from "../deps.ts";
import { effects } from "../effects.ts";
import { followUp } from "../follow-up.ts";
import { isolatingEach } from "../quarantine.ts";
import { stopRuns } from "./cancel.ts";

/** Does for backfills what processes that died have left: starts, cancels and ends. */
export async function tendBackfills(deps: EngineDeps): Promise<void> {
  await isolatingEach(
    deps,
    "backfills",
    await neglectedBackfills(deps.pool),
    ({ id }) => id,
    async ({ id, state }) => {
      await (state === "cancelling" ? stopRuns(deps, id) : followUp(deps, effects({ backfills: [id] })));
    },
  );
}
