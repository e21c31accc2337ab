import { describe, expect, test } from "vitest";
import { decideAdmission } from "./admission.ts";
import type { Demand, LiveClass, ReadyClass } from "./demand.ts";
import { type LaneClock, NEW_CLOCK } from "./lane-clock.ts";

const base = {
  laneId: 1,
  lane: "default.process",
  priority: "medium" as const,
  pool: "p" as string | null,
  slots: 1,
  asks: { cpu: 0, memory: 0 },
  needs: [],
  runs: null,
  hasMore: true,
  ready: 10,
  lastAdmittedAt: 0,
  waitedMs: 0,
};

/** Steps until `big` (class 1) is admitted, when one live pool task ends in each step; -1: not within `most`. */
function until(
  classes: ReadyClass[],
  fixed: LiveClass[],
  pool: number,
  room: number,
  most: number,
  alsoEnds: number[] = [],
  before: number[] = [],
): number {
  let clock: LaneClock = NEW_CLOCK;
  const live: number[] = [...before];
  const last = new Map<number, number>(classes.map((c) => [c.id, c.lastAdmittedAt]));
  for (let step = 0; step < most; step++) {
    const counts = [...Map.groupBy(live, (id) => id)].map(([id, l]): LiveClass => ({
      of: classes.find((c) => c.id === id)!,
      live: l.length,
    }));
    const demand: Demand = {
      lanes: [{ id: 1, lane: "default.process", slots: room, room, groupId: 1, ownSlots: 0, clock }],
      groups: [{ id: 1, slots: room, room }],
      pools: new Map([["p", pool]]),
      dags: new Map(),
      systemLimit: null,
      live: [...fixed, ...counts],
      liveOfRuns: new Map(),
      workers: [],
      ready: classes.map((c) => ({
        ...c,
        lastAdmittedAt: last.get(c.id)!,
        waitedMs: c.id === 1 ? 600_000 + step * 1000 : 0,
      })),
    };
    const d = decideAdmission(demand);
    clock = d.clocks.get(1) ?? clock;
    for (const g of d.grants) {
      if (g.classId === 1) return step;
      live.push(g.classId);
      last.set(g.classId, step + 1);
    }
    // the oldest pool task ends, and one of those in alsoEnds
    const at = live.findIndex((id) => classes.find((c) => c.id === id)!.pool !== null);
    if (at >= 0) live.splice(at, 1);
    const other = live.findIndex((id) => alsoEnds.includes(id));
    if (other >= 0) live.splice(other, 1);
  }
  return -1;
}

describe("the room of a pool is kept for a large task that waits for long", () => {
  test("for a task whose DAG has long tasks elsewhere, behind many DAGs' small ones", () => {
    const big = { ...base, id: 1, dagId: "big", slots: 3 };
    const small = Array.from({ length: 10 }, (_, n) => ({ ...base, id: 2 + n, dagId: `s${n}` }));
    const long: LiveClass = { of: { ...big, id: 99, pool: null, slots: 1 }, live: 5 };
    const step = until([big, ...small], [long], 4, 100, 2_000);
    expect(step).toBeGreaterThanOrEqual(0);
  });

  test("for a low task beside another low class without a pool, and a high backlog in the pool", () => {
    const big = { ...base, id: 1, dagId: "big", slots: 3, priority: "low" as const };
    const high = { ...base, id: 2, dagId: "h", priority: "high" as const };
    const low = { ...base, id: 3, dagId: "l", priority: "low" as const, pool: null };
    const step = until([big, high, low], [], 4, 8, 5_000, [3], [2, 2, 2, 2]);
    expect(step).toBeGreaterThanOrEqual(0);
  });
});
