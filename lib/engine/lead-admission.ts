import { endLeaseOf, giveLeaseBack, isLeaseHeld, takeLease } from "#lib/db/admission.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { admit, admitLeft, LeadLost } from "./admit.ts";
import type { EngineDeps } from "./deps.ts";

const LEASE = "admission";

/** A scheduler that leads no more is replaced after this; until then each commit is admitted by its net. */
const LEASE_MS = 5_000;

/** A scheduler whose passes fail lets at most so many of its turns go by before it tries to lead again. */
const MAX_TURNS_OUT = 5;

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
 * The lead of the scheduler `id`, which is new at each start. With a `name` it comes in the place of any other scheduler of that
 * name, and so does not wait for the end of that one's lease. A leader that hangs in a pass keeps the lead no longer than its lease. One that was stopped and
 * goes on writes nothing, because its term is over. One whose regular pass fails gives the lead back and lets some of its
 * turns go by, one more after each failure: what fails here may work elsewhere.
 */
export function createAdmissionLead(id: string, name?: string): AdmissionLead {
  /** How holders of this name begin, until the last one has been replaced. */
  let replaces = name === undefined ? undefined : `${name}#`;
  const holder = `${replaces ?? ""}${id}`;
  /** Of the lease that this scheduler has, as far as it knows. */
  let term: number | undefined;
  let failures = 0;
  let turnsOut = 0;
  let lastError = "";

  /** False when another scheduler leads. */
  const passes = async (pass: (term: number) => Promise<unknown>): Promise<boolean> => {
    if (term === undefined) return false;
    try {
      await pass(term);
      return true;
    } catch (error) {
      if (!(error instanceof LeadLost)) throw error;
      term = undefined;
      return false;
    }
  };

  const sitOut = async (deps: EngineDeps): Promise<void> => {
    turnsOut--;
    if (!(await isLeaseHeld(deps.pool, LEASE, LEASE_MS)))
      throw new Error(`no scheduler leads admission, here it failed: ${lastError}`);
  };

  return {
    async turn(deps) {
      if (turnsOut > 0) return sitOut(deps);
      if (replaces !== undefined) await endLeaseOf(deps.pool, LEASE, replaces);
      replaces = undefined;
      term = await takeLease(deps.pool, LEASE, holder, LEASE_MS);
      try {
        // As many tasks as are due may take longer than the lease.
        const renew = async (): Promise<void> => {
          if ((await takeLease(deps.pool, LEASE, holder, LEASE_MS)) !== term) throw new LeadLost();
        };
        await passes((of) => admitLeft(deps, of, renew));
        failures = 0;
      } catch (error) {
        term = undefined;
        failures++;
        turnsOut = Math.min(failures, MAX_TURNS_OUT);
        lastError = messageOf(error);
        // Where the database is away, the lease ends by itself.
        await giveLeaseBack(deps.pool, LEASE, holder).catch(() => undefined);
        throw error;
      }
    },
    async request(deps) {
      if (!(await passes((of) => admit(deps, of)))) await announceRequest(deps);
    },
    async requested(deps) {
      await passes((of) => admit(deps, of));
    },
    async leave(deps) {
      term = undefined;
      await giveLeaseBack(deps.pool, LEASE, holder);
    },
  };
}

/** How every process but a scheduler asks for a pass. Lost when no scheduler hears it: then the next regular pass does it. */
export async function announceRequest({ notifier }: Pick<EngineDeps, "notifier">): Promise<void> {
  notifier.announce("sluice_admission", ["pass"]);
}
