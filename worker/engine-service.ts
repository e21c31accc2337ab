import type { EngineDeps } from "#lib/engine/deps.ts";
import type { Service } from "./lifecycle.ts";

/** Starts delivery; at the stop, ends what talks to the database last. */
export function engineService(deps: EngineDeps): Service {
  return {
    name: "engine",
    start: () => deps.queue.start(),
    async stop() {
      await deps.notifier.flush();
      await deps.queue.stop();
      await deps.pool.end();
    },
  };
}
