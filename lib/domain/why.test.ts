import { expect, test } from "vitest";
import { TASK_STATES } from "./states.ts";
import { actionSentence, type TaskSituation, whySentence, whyQueued } from "./why.ts";

const base: TaskSituation = {
  taskId: "load",
  state: "ready",
  attempt: 0,
  parents: [],
  dagPausedBy: null,
  runPausedBy: null,
  backfillPausedBy: null,
  runAction: null,
  isApart: false,
  lostAttempts: 0,
  isRunQueued: false,
  wait: null,
  readyAt: null,
  startedAt: null,
  endedAt: null,
  notBefore: null,
  deferrals: 0,
  workerId: null,
  reason: null,
  error: null,
};

test("every state has its sentence", () => {
  for (const state of TASK_STATES) expect(whySentence({ ...base, state })).toMatch(/\w/);
});

test("what keeps a ready task is told in the order in which it can be changed", () => {
  const wait = { code: "POOL_FULL", pool: "db", taken: 8, size: 8, wanted: 1, since: "12:00" } as const;
  expect(whySentence({ ...base, wait })).toBe('pool "db" has 8 of 8 slots taken, and this task wants 1 (since 12:00)');
  expect(whySentence({ ...base, wait, runPausedBy: "anna" })).toBe("its run was paused by anna");
  expect(whySentence({ ...base, wait, runPausedBy: "anna", dagPausedBy: "bo" })).toBe("its DAG was paused by bo");
  expect(whySentence({ ...base, wait, backfillPausedBy: "anna" })).toBe("its backfill was paused by anna");
  expect(whySentence({ ...base, wait, isRunQueued: true })).toBe(
    "its run is queued, and goes on when there is room for it",
  );
  expect(whySentence({ ...base, wait, runAction: "resume" })).toBe(
    "its run is resuming: nothing of it starts until all of its tasks are let go",
  );
  expect(whySentence({ ...base, wait, isRunQueued: true, runAction: "clear" })).toBe(
    "its run waits until a clear of it is carried out",
  );
});

test("who has not ended yet, or ended badly, is named", () => {
  const parents = [{ taskId: "extract", state: "failed" as const }];
  expect(whySentence({ ...base, state: "upstream_failed", parents })).toBe("it never ran, because of extract (failed)");
  expect(whySentence({ ...base, state: "waiting", parents })).toBe("it waits for extract (failed)");
});

test("a deferred task says when it looks again and what for", () => {
  const deferred = { ...base, state: "deferred" as const, notBefore: "12:30", reason: "no file yet", deferrals: 1 };
  expect(whySentence(deferred)).toBe("it looks again at 12:30: no file yet");
  expect(whySentence({ ...deferred, deferrals: 12 })).toBe("it looks again at 12:30: no file yet (looked 12 times)");
});

test("a queued run says what it waits for", () => {
  const paused = { dagPausedBy: null, runPausedBy: null, backfillPausedBy: null };
  const free = { ...paused, dagId: "etl", backfillId: null, limit: 2, running: 0, ahead: 0 };
  expect(whyQueued(free)).toBe("it starts in a moment");
  expect(whyQueued({ ...free, running: 2 })).toBe("2 of 2 runs of etl are active; it is the next");
  expect(whyQueued({ ...free, running: 2, ahead: 3 })).toBe(
    "2 of 2 runs of etl are active; 3 more are queued before it",
  );
  expect(whyQueued({ ...free, running: 2, dagPausedBy: "anna" })).toBe("its DAG etl is paused by anna");
  expect(whyQueued({ ...free, runPausedBy: "ben", dagPausedBy: "anna" })).toBe("it is paused by ben");
  const filling = { ...free, backfillId: "7", running: 2, ahead: 3 };
  expect(whyQueued(filling)).toBe("2 of 2 runs of backfill 7 are active; 3 more are queued before it");
  expect(whyQueued({ ...filling, backfillPausedBy: "anna" })).toBe("its backfill 7 is paused by anna");
});

test("an action tells how far it is", () => {
  const action = { kind: "cancel", actor: "anna", done: 0, total: null } as const;
  expect(actionSentence(action)).toBe("anna asked for a cancel of this run, which begins in a moment");
  expect(actionSentence({ ...action, done: 5_000, total: 20_000 })).toBe(
    "anna asked for a cancel of this run: 5000 of 20000 tasks are done",
  );
  expect(actionSentence({ ...action, kind: "pause" })).toBe("this run is pausing");
  expect(actionSentence({ ...action, kind: "resume", done: 5_000, total: 20_000 })).toBe(
    "this run is resuming: 5000 of 20000 tasks are done",
  );
  expect(actionSentence({ ...action, done: 2, total: 2 })).toBe(
    "anna asked for a cancel of this run: what depends on its tasks is being decided",
  );
});
