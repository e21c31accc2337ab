import { messageOf } from "#lib/domain/errors.ts";
import { listen, type Listener } from "#lib/db/listen.ts";
import type { Channel } from "#lib/db/notify.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { Service } from "../lifecycle.ts";

/**
 * Wakes duties by what is announced, all on one connection. What is announced while that is away is
 * lost: then all are woken. `age`: milliseconds since the connection last answered.
 */
export function hearingService(
  deps: Pick<EngineDeps, "log" | "pool" | "sessionUrl">,
  wakes: Partial<Record<Channel, () => void>>,
): Service & { age(): number } {
  let listener: Listener | undefined;
  return {
    name: "hearing",
    age: () => listener?.age() ?? 0,
    async start() {
      listener ??= listen({
        addresses: deps,
        hears: wakes,
        onReconnect: () => Object.values(wakes).forEach((wake) => wake()),
        onError: (error) =>
          deps.log.warn({ error: messageOf(error) }, "lost the connection that hears of work; reconnecting"),
      });
    },
    async stop() {
      await listener?.stop();
    },
  };
}
