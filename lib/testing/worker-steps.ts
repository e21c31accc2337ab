import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import type { WorkerRef } from "#lib/db/claims.ts";
import { type Continued, type Finish, finishRunning } from "#lib/db/finishes.ts";
import { renewLeases, setWorkerAhead, setWorkerState } from "#lib/db/workers.ts";
import { claim } from "#lib/engine/claim.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { finish } from "#lib/engine/finish.ts";
import { LEASE_MS, LOST_ALLOWANCE } from "#lib/engine/lease.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { handBack } from "#lib/engine/sweep.ts";
import { LABEL, type Queue, QUEUES, QUEUES_OF, type WorkerId } from "./engine-agreement.ts";
import {
  claims,
  ends,
  handsBack,
  heldBy,
  isHeld,
  loses,
  type Model,
  nowS,
  runOf,
  settled,
  stateOf,
} from "./engine-model.ts";
import { catchUp, type Command, pick, step } from "./engine-steps.ts";
import { registration } from "./engine.ts";

/** Steps of the model-based test: what workers do. */

/** Starts a worker, or starts it again: what its name was running is lost. */
export const startWorker = (id: string, slots: number, offers: readonly string[]): Command =>
  step(
    `start worker ${id}`,
    { slots, offers },
    () => true,
    async (model, deps) => {
      const old = model.workers.get(id)?.ref;
      await catchUp(model, deps);
      const ref = await join(deps, id, slots, offers);
      model.workers.set(id, { ref, state: "active", slots, ahead: 0 });
      if (!old) return;
      model.replaced.push(old);
      const lost = [...model.holdings].filter(([, holding]) => holding.worker.id === id).map(([taskId]) => taskId);
      loses(model, lost, LOST_ALLOWANCE);
    },
  );

/** What it has claimed while that was more stays with it. */
export const tellAhead = (id: string, ahead: number): Command =>
  step(
    `worker ${id} claims ahead`,
    { ahead },
    (model) => model.workers.has(id),
    async (model, deps) => {
      const worker = model.workers.get(id)!;
      await catchUp(model, deps);
      await setWorkerAhead(deps.pool, worker.ref, { process: ahead, function: 0 });
      await deps.requestAdmission();
      worker.ahead = ahead;
    },
  );

export const claimWith = (id: string, queue: Queue, max: number): Command =>
  step(
    `claim with ${id}`,
    { queue, max },
    (model) => model.workers.has(id),
    async (model, deps) => {
      const { ref, state, slots, ahead } = model.workers.get(id)!;
      // No worker claims more than it has slots for and has said before.
      const room = Math.max(0, Math.min(max, slots + ahead - heldBy(model, ref).length));
      const claimed = await claimFrom(deps, ref, queue, room);
      expect(claimed.length).toBeLessThanOrEqual(state === "active" ? room : 0);
      for (const attempt of claimed) takes(model, ref, attempt);
    },
  );

export function claimFrom(deps: EngineDeps, ref: WorkerRef, queue: Queue, max: number): Promise<Continued[]> {
  const tokens = Array.from({ length: max }, deps.newToken);
  return claim(deps, ref, { queues: [queue], slotClass: "process" }, tokens).then(({ claimed }) => claimed);
}

export function join(
  deps: EngineDeps,
  id: string,
  slots: number,
  offers: readonly string[] = [LABEL],
): Promise<WorkerRef> {
  const queues: readonly Queue[] = id in QUEUES_OF ? QUEUES_OF[id as WorkerId] : QUEUES;
  return registerWorker(deps, { ...registration(id, slots), queues, offers });
}

function takes(model: Model, ref: WorkerRef, claimed: Continued): void {
  expect(stateOf(model, claimed.taskInstanceId)).toBe("ready");
  expect(model.holdings.has(claimed.taskInstanceId)).toBe(false);
  const run = runOf(model, claimed.taskInstanceId);
  expect([run.isAsked, isHeld(model, run)]).toEqual([false, false]);
  const look = model.looking.get(claimed.taskInstanceId);
  const { attemptId, number } = claimed;
  expect(claimed.look !== null).toBe(look !== undefined);
  if (look) expect({ attemptId, number }).toEqual({ attemptId: look.attemptId, number: look.number });
  claims(model, ref, claimed);
}

export const claimAsReplaced = (roll: number): Command =>
  step(
    "claim as a process that was replaced",
    { roll },
    (model) => model.replaced.length > 0,
    async (model, deps) => {
      const ghost = pick(model.replaced, roll);
      for (const queue of QUEUES) expect(await claimFrom(deps, ghost, queue, 5)).toEqual([]);
      expect((await renewLeases(deps.pool, ghost, [], LEASE_MS)).workerState).toBeUndefined();
    },
  );

export const heartbeat = (id: string): Command =>
  step(
    `heartbeat of ${id}`,
    {},
    (model) => model.workers.has(id),
    async (model, deps) => {
      const { ref } = model.workers.get(id)!;
      const mine = heldBy(model, ref).map((taskId) => model.holdings.get(taskId)!);
      // It may ask for what it has lost as well.
      const asked = [...mine.map(({ claimed }) => claimed), ...model.over];
      const { held } = await renewLeases(deps.pool, ref, asked, LEASE_MS);
      expect(held.toSorted()).toEqual(mine.map(({ claimed }) => claimed.token).toSorted());
      for (const holding of mine) holding.renewedAtS = nowS(model);
    },
  );

export const drain = (id: string): Command =>
  step(
    `drain ${id}`,
    {},
    (model) => model.workers.get(id)?.state === "active",
    async (model, deps) => {
      const known = model.workers.get(id)!;
      await setWorkerState(deps.pool, known.ref, "draining");
      known.state = "draining";
    },
  );

export const handBackAll = (id: string): Command =>
  step(
    `hand back what ${id} has`,
    {},
    (model) => model.workers.has(id),
    async (model, deps) => {
      const { ref } = model.workers.get(id)!;
      await handBack(deps, ref);
      handsBack(model, ref);
    },
  );

/** `againS`: after how long one that failed is tried again, if at all, and one that is deferred looks again. */
export type End = { roll: number; isLate: boolean; end: Finish["state"]; againS: number | null };

/** Ends of one batch, of live attempts and of ones that were taken away, also of the same task. */
export const end = (batch: readonly End[], handsOn: boolean): Command =>
  step(
    handsOn ? "end" : "end and die before handing on",
    batch,
    (model) => model.holdings.size > 0 || (model.over.length > 0 && batch.some(({ isLate }) => isLate)),
    async (model, deps) => {
      const live = [...model.holdings.values()];
      const chosen = new Map<string, { claimed: Continued } & End>();
      for (const one of batch) {
        const list = one.isLate || live.length === 0 ? model.over : live.map(({ claimed }) => claimed);
        if (list.length > 0) chosen.set(pick(list, one.roll).token, { claimed: pick(list, one.roll), ...one });
      }
      const wanted = [...chosen.values()].map(({ claimed, end: state, againS }): Finish & { token: string } => {
        const { taskInstanceId, token } = claimed;
        const retryInMs = state === "failed" && againS !== null ? againS * 1_000 : undefined;
        const lookInMs = state === "deferred" ? (againS ?? 1) * 1_000 : undefined;
        const next = handsOn ? undefined : { attemptId: randomUUID(), token: randomUUID() };
        return { taskInstanceId, token, state, reason: "EXIT", retryInMs, lookInMs, next };
      });
      const good = wanted.filter(({ taskInstanceId: id, token }) => model.holdings.get(id)?.claimed.token === token);
      const holders = new Map(good.map(({ taskInstanceId: id }) => [id, model.holdings.get(id)!.worker]));
      const accept = (accepted: readonly string[]): void => {
        expect(accepted.toSorted()).toEqual(good.map(({ taskInstanceId: id }) => id).toSorted());
        ends(
          model,
          good.map(({ taskInstanceId: taskId, state, retryInMs, lookInMs = retryInMs }) => ({
            taskId,
            state: retryInMs === undefined ? state : retryInMs === 0 ? "ready" : "retrying",
            dueAtS: lookInMs === undefined ? undefined : nowS(model) + lookInMs / 1_000,
          })),
        );
      };
      if (handsOn) {
        accept(await finish(deps, wanted, "worker:model"));
        // One that goes on or is tried again ends nothing, and so settles nothing that somebody else has left.
        for (const { taskInstanceId: id, retryInMs, lookInMs = retryInMs } of good)
          if (lookInMs === undefined) settled(runOf(model, id));
      } else {
        const finished = await finishRunning(deps.pool, wanted, "worker:model", LEASE_MS);
        accept(finished.accepted);
        for (const [after, child] of finished.continued) {
          const holder = holders.get(after)!;
          expect(model.workers.get(holder.id)).toMatchObject({ ref: holder, state: "active" });
          takes(model, holder, child);
        }
      }
    },
  );
