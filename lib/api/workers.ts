import type { listWorkers } from "#lib/contract/workers.ts";
import * as reads from "#lib/db/worker-reads.ts";
import type { Handlers } from "./handler.ts";

export const workerHandlers: Handlers<{ listWorkers: typeof listWorkers }> = {
  async listWorkers(_, { engine }) {
    return { status: 200, body: { items: await reads.listWorkers(engine.pool) } };
  },
};
