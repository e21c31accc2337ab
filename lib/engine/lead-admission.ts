import { giveLeaseBack, takeLease } from "#lib/db/admission.ts";
import { admit, admitLeft } from "./admit.ts";
import type { EngineDeps } from "./deps.ts";

const LEASE = "admission";

/** A scheduler that leads no more is replaced after this; until then each commit is admitted by its net. */
const LEASE_MS = 5_000;

/** One scheduler's part in admission: of all of them one leads, and the others only see to it that one does. */
export type AdmissionLead = {
  /** The regular pass, for the leader; takes the lead where none has it. Throws when the pass fails. */
  turn(deps: EngineDeps): Promise<void>;
  /** A pass that another transition asks for: at once by the leader, announced to it by the others. */
  request(deps: EngineDeps): Promise<void>;
  /** A pass that was announced: done by the leader, and by no other. */
  requested(deps: EngineDeps): Promise<void>;
  /** Leaves the lead to another scheduler. */
  leave(deps: EngineDeps): Promise<void>;
};

/**
 * The lead of the scheduler `holder`. A leader that hangs in a pass keeps the lead no longer than its lease; two that both believe they lead do no harm, since limits are counted under a lock.
 */
export function createAdmissionLead(holder: string): AdmissionLead {
  let leads = false;
  return {
    async turn(deps) {
      leads = await takeLease(deps.pool, LEASE, holder, LEASE_MS);
      if (leads) await admitLeft(deps);
    },
    async request(deps) {
      if (leads) await admit(deps);
      else await announceRequest(deps);
    },
    async requested(deps) {
      if (leads) await admit(deps);
    },
    async leave(deps) {
      leads = false;
      await giveLeaseBack(deps.pool, LEASE, holder);
    },
  };
}

/** How every process but a scheduler asks for a pass. Lost when no scheduler hears it: then the next regular pass does it. */
export async function announceRequest({ notifier }: Pick<EngineDeps, "notifier">): Promise<void> {
  notifier.announce("sluice_admission", ["pass"]);
}
