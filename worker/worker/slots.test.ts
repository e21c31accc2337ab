import { expect, test } from "vitest";
import { pino } from "pino";
import type { Claimed } from "#lib/db/claims.ts";
import type { AttemptTools } from "./run-attempt.ts";
import { createSlots, type Slots } from "./slots.ts";

const claimed = (n: number): Claimed => ({
  taskInstanceId: String(n),
  runId: "1",
  attemptId: `attempt-${n}`,
  token: `token-${n}`,
  number: 1,
  dagId: "d",
  taskId: `t${n}`,
  task: { id: `t${n}`, type: "noop", config: {} },
  bundle: null,
  conf: {},
  params: {},
  failures: 0,
  logicalDate: new Date(0),
  intervalStart: new Date(0),
  intervalEnd: new Date(0),
  triggerKind: "manual",
  look: null,
});

/** Slots of a worker whose ends are always accepted; `submitted` are the task instances whose end was handed in. */
function slots(
  answered: () => Promise<void> = () => Promise.resolve(),
  told: () => number = () => 0,
): { slots: Slots; submitted: string[] } {
  const submitted: string[] = [];
  const made = createSlots({
    tools: {
      deps: { log: pino({ level: "silent" }), newToken: () => "token" },
      workFolder: "/nowhere",
      inputs: {
        of: () => Promise.resolve({ outputs: {}, xcoms: {} }),
        prefetch: () => undefined,
        forget: () => undefined,
      },
      // Of all that attempts may need, a noop needs this much.
    } as unknown as AttemptTools,
    slots: { process: 1, function: 1, inline: 1 },
    logs: { open: () => ({ write: async () => undefined, stored: async () => undefined, written: () => 0 }) },
    finisher: {
      submit: async ({ taskInstanceId }) => {
        submitted.push(taskInstanceId);
        await answered();
        return { accepted: true };
      },
    },
    told,
    mayContinue: () => true,
    onRoom: () => undefined,
    onUnbegun: () => undefined,
  });
  return { slots: made, submitted };
}

test("what is claimed after a fence runs, what was held before it does not end here", async () => {
  const { slots: worker, submitted } = slots();
  worker.add(claimed(1), "inline");
  worker.fence("the lease could not be renewed in time");
  await worker.ended();
  worker.add(claimed(2), "inline");
  await worker.ended();
  expect(submitted).toEqual(["2"]);
  expect(worker.held.size).toBe(0);
});

test("what a claim brings when everything has been stopped is not handed in", async () => {
  const { slots: worker, submitted } = slots();
  worker.stopAll("the worker stops");
  worker.add(claimed(1), "inline");
  await worker.ended();
  expect(submitted).toEqual([]);
});

test("the next look of an attempt is held although the answer to the end of the last one comes late", async () => {
  const answers = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const waiting = answers.values();
  const { slots: worker, submitted } = slots(() => waiting.next().value!.promise);
  worker.add(claimed(1), "inline");
  await expect.poll(() => submitted).toEqual(["1"]);
  worker.add({ ...claimed(1), token: "token of the next look" }, "inline");
  answers[0]!.resolve();
  await expect.poll(() => [...worker.held.keys()]).toEqual(["token of the next look"]);
  answers[1]!.resolve();
  await worker.ended();
  expect(worker.held.size).toBe(0);
});

test("no more is claimed ahead than others have been told", async () => {
  let told = 0;
  const { slots: worker } = slots(undefined, () => told);
  // Tasks that take no time at all: much would be claimed ahead.
  for (let n = 0; n < 8; n++) worker.add(claimed(n), "function");
  await worker.ended();
  expect(worker.ahead("function")).toBeGreaterThan(4);
  expect(worker.room("function")).toBe(1);
  told = 4;
  expect(worker.room("function")).toBe(5);
});
