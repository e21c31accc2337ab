import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decideAdmission, type Workload } from "./admission.ts";
import { waitSentence } from "./wait-reason.ts";

let nextId = 1;

function workload(given: Partial<Workload> & { count?: number }): Workload {
  const { count = 10, ...rest } = given;
  const id = nextId++;
  return {
    id,
    dagId: "d",
    lane: "default.process",
    laneFree: 4,
    laneSlots: 4,
    priority: "medium",
    pool: null,
    slots: 1,
    dag: { limit: null, taken: 0 },
    runLimit: null,
    starvedMs: 0,
    candidates: Array.from({ length: count }, (_, index) => `${id}:${index}`),
    hasMore: false,
    ...rest,
  };
}

const owners = (admitted: readonly string[]): string[] => admitted.map((id) => id.split(":")[0]!);

describe("who goes next", () => {
  test("a higher priority goes first, whatever its DAG occupies", () => {
    const low = workload({ dagId: "a", priority: "low" });
    const high = workload({ dagId: "b", priority: "high", dag: { limit: null, taken: 50 }, count: 3 });
    expect(owners(decideAdmission([low, high]).admitted)).toEqual([high, high, high, low].map(({ id }) => String(id)));
  });

  test("among equals the DAG that occupies least goes first, so a backlog does not hold up another DAG", () => {
    const backlog = workload({ dagId: "big", dag: { limit: null, taken: 3 }, starvedMs: 5_000, count: 1_000 });
    const newcomer = workload({ dagId: "small", count: 1 });
    const { admitted } = decideAdmission([backlog, newcomer]);
    expect(admitted[0]).toBe(newcomer.candidates[0]);
    expect(admitted).toHaveLength(4);
  });

  test("what has been given nothing for long rises by a priority for every ten minutes", () => {
    const low = workload({ dagId: "a", priority: "low", starvedMs: 1_300_000, laneFree: 1 });
    const medium = workload({ dagId: "b", priority: "medium", laneFree: 1 });
    expect(owners(decideAdmission([medium, low]).admitted)).toEqual([String(low.id)]);
  });

  test("what waits is told why, with the numbers", () => {
    const pool = { name: "db", size: 2, taken: 1 };
    const given = [
      workload({ dagId: "a", pool, count: 5 }),
      workload({ dagId: "b", laneFree: null, lane: "gpu.process" }),
      workload({ dagId: "c", dag: { limit: 3, taken: 3 } }),
      workload({ dagId: "e", pool: { name: "nope", size: null, taken: 0 } }),
      workload({ dagId: "f", runLimit: 2, candidates: [], hasMore: true }),
    ];
    const { admitted, waits } = decideAdmission(given);
    expect(admitted).toHaveLength(1);
    expect(given.map(({ id }) => waitSentence(waits.get(id)!))).toEqual([
      'pool "db" has 2 of 2 slots taken, and this task wants 1',
      'no live worker serves queue "gpu"',
      'DAG "c" has 3 of 3 tasks going (limits.maxActiveTasks)',
      'there is no pool "nope"; create it with: sluice pools set nope <slots>',
      "its run has 2 of 2 tasks going (limits.maxActiveTasksPerRun)",
    ]);
  });

  test("no limit is exceeded, nothing that could go stays, and every workload with something left has a reason", () => {
    const pools = fc.constantFrom("p", "q", null);
    const arbitrary = fc.array(
      fc.record({
        dag: fc.constantFrom("a", "b", "c"),
        lane: fc.constantFrom("x.process", "y.process"),
        pool: pools,
        slots: fc.integer({ min: 1, max: 3 }),
        count: fc.nat(12),
        priority: fc.constantFrom("high", "medium", "low" as const),
        starvedMs: fc.nat(3_000_000),
      }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(arbitrary, fc.nat(10), fc.nat(6), fc.nat(8), (rows, laneFree, dagLimit, poolSize) => {
        const given = rows.map(({ dag, pool, ...row }) =>
          workload({
            ...row,
            dagId: dag,
            laneFree,
            dag: { limit: dagLimit, taken: 0 },
            pool: pool === null ? null : { name: pool, size: poolSize, taken: 0 },
          }),
        );
        const { admitted, waits } = decideAdmission(given);
        const of = new Map(given.map((entry) => [String(entry.id), entry]));
        const sum = (key: (entry: Workload) => string | undefined, weigh: (entry: Workload) => number) => {
          const totals = new Map<string, number>();
          for (const id of owners(admitted)) {
            const name = key(of.get(id)!);
            if (name !== undefined) totals.set(name, (totals.get(name) ?? 0) + weigh(of.get(id)!));
          }
          return totals;
        };
        const dags = sum(
          (entry) => entry.dagId,
          () => 1,
        );
        const lanes = sum(
          (entry) => entry.lane,
          () => 1,
        );
        const taken = sum(
          (entry) => entry.pool?.name,
          (entry) => entry.slots,
        );
        for (const n of dags.values()) expect(n).toBeLessThanOrEqual(dagLimit);
        for (const n of lanes.values()) expect(n).toBeLessThanOrEqual(laneFree);
        for (const n of taken.values()) expect(n).toBeLessThanOrEqual(poolSize);
        for (const entry of given) {
          const left = entry.candidates.length - owners(admitted).filter((id) => id === String(entry.id)).length;
          expect(waits.has(entry.id)).toBe(left > 0);
          const couldGo =
            left > 0 &&
            (dags.get(entry.dagId) ?? 0) < dagLimit &&
            (lanes.get(entry.lane) ?? 0) < laneFree &&
            (entry.pool === null || (taken.get(entry.pool.name) ?? 0) + entry.slots <= poolSize);
          expect(couldGo).toBe(false);
        }
      }),
    );
  });
});
