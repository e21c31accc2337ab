import type { Db } from "#lib/db/pool.ts";
import { requireProtocol } from "#lib/db/protocol.ts";
import { proveSessionAddress } from "#lib/db/session-address.ts";
import { keepSessionSettings } from "#lib/db/session-settings.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { Service } from "./lifecycle.ts";

/**
 * Starts what talks to the database, if that takes this program's protocol and both of its addresses
 * lead there; at the stop, ends it last. `require` is asked of the role of either address.
 */
export function engineService(deps: EngineDeps, require: (db: Db) => Promise<void> = () => Promise.resolve()): Service {
  return {
    name: "engine",
    async start() {
      await requireProtocol(deps.pool);
      await require(deps.pool);
      await proveSessionAddress(deps, require);
      await keepSessionSettings(deps.pool);
      await deps.queue.start();
    },
    async stop() {
      await deps.notifier.flush();
      await deps.queue.stop();
      await deps.pool.end();
    },
  };
}
