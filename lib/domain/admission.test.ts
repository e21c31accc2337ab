import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Admission, decideAdmission } from "./admission.ts";
import type { WorkerRoom, Workload } from "./demand.ts";
import { type WaitReason, waitSentence, withHolders } from "./wait-reason.ts";

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
    asks: { cpu: 0, memory: 0 },
    needs: [],
    dag: { limit: null, taken: 0 },
    runLimit: null,
    starvedMs: 0,
    candidates: Array.from({ length: count }, (_, index) => `${id}:${index}`),
    hasMore: false,
    ...rest,
  };
}

const NO_LIMIT = { limit: null, taken: 0 };
const decideAll = (workloads: readonly Workload[], workers: readonly WorkerRoom[] = [], system = NO_LIMIT): Admission =>
  decideAdmission({ workloads, workers, system });

function room(id: string, cpu: number, memory: number, given: Partial<WorkerRoom> = {}): WorkerRoom {
  const size = { cpu, memory };
  const slots = { process: 4, function: 4, inline: 4 };
  return { id, queues: ["default"], offers: [], version: "0.1.0", slots, free: size, size, ...given };
}

/** What a pass has admitted, weighed and added up by a property of the workloads. */
function totals(
  admitted: readonly Workload[],
  key: (entry: Workload) => string | undefined,
  weigh: (entry: Workload) => number,
): Map<string, number> {
  const sums = new Map<string, number>();
  for (const entry of admitted) {
    const name = key(entry);
    if (name !== undefined) sums.set(name, (sums.get(name) ?? 0) + weigh(entry));
  }
  return sums;
}

type Sums = Record<"dags" | "lanes" | "taken", Map<string, number>>;
type Bounds = Record<"dagLimit" | "laneFree" | "poolSize", number>;

/** One more task of the workload is within every limit. */
function fits({ dagId, lane, pool, slots }: Workload, { dags, lanes, taken }: Sums, bounds: Bounds): boolean {
  const inPool = pool === null || (taken.get(pool.name) ?? 0) + slots <= bounds.poolSize;
  return (dags.get(dagId) ?? 0) < bounds.dagLimit && (lanes.get(lane) ?? 0) < bounds.laneFree && inPool;
}

const isKept = (reason: WaitReason): boolean => reason.code === "POOL_FULL" && reason.kept === true;

const owners = (admitted: readonly string[]): string[] => admitted.map((id) => id.split(":")[0]!);

describe("who goes next", () => {
  test("a higher priority goes first, whatever its DAG occupies", () => {
    const low = workload({ dagId: "a", priority: "low" });
    const high = workload({ dagId: "b", priority: "high", dag: { limit: null, taken: 50 }, count: 3 });
    expect(owners(decideAll([low, high]).admitted)).toEqual([high, high, high, low].map(({ id }) => String(id)));
  });

  test("among equals the DAG that occupies least goes first, so a backlog does not hold up another DAG", () => {
    const backlog = workload({ dagId: "big", dag: { limit: null, taken: 3 }, starvedMs: 5_000, count: 1_000 });
    const newcomer = workload({ dagId: "small", count: 1 });
    const { admitted } = decideAll([backlog, newcomer]);
    expect(admitted[0]).toBe(newcomer.candidates[0]);
    expect(admitted).toHaveLength(4);
  });

  test("what has been given nothing for long rises by a priority for every ten minutes", () => {
    const low = workload({ dagId: "a", priority: "low", starvedMs: 1_300_000, laneFree: 1 });
    const medium = workload({ dagId: "b", priority: "medium", laneFree: 1 });
    expect(owners(decideAll([medium, low]).admitted)).toEqual([String(low.id)]);
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
    const { admitted, waits } = decideAll(given);
    expect(admitted).toHaveLength(1);
    expect(given.map(({ id }) => waitSentence(waits.get(id)!))).toEqual([
      'pool "db" has 2 of 2 slots taken, and this task wants 1',
      'no live worker serves queue "gpu"',
      'DAG "c" has 3 of 3 tasks going (limits.maxActiveTasks)',
      'there is no pool "nope"; create it with: sluice pools set nope <slots>',
      "its run has 2 of 2 tasks going (limits.maxActiveTasksPerRun)",
    ]);
  });

  test("the whole system's limit counts what every DAG has going", () => {
    const system: { limit: number | null; taken: number } = { limit: 5, taken: 3 };
    const given = [workload({ dagId: "a" }), workload({ dagId: "b" })];
    const { admitted, waits } = decideAdmission({ workloads: given, workers: [], system });
    expect(admitted).toHaveLength(2);
    const reason = withHolders(waits.get(given[0]!.id)!, [
      { dagId: "b", lane: "x.inline", pool: null, tasks: 1, slots: 1, particular: false },
      { dagId: "a", lane: "default.process", pool: null, tasks: 3, slots: 9, particular: false },
      { dagId: "b", lane: "default.process", pool: "p", tasks: 1, slots: 1, particular: false },
    ]);
    expect(waitSentence(reason)).toBe(
      "5 of 5 tasks are going in the whole system (sluice limits), held by a (3), b (2)",
    );
  });

  test("a task that asks for something goes to a worker that has it, where least is left over", () => {
    const small = workload({ asks: { cpu: 1_000, memory: 512 }, count: 3 });
    const large = workload({ asks: { cpu: 4_000, memory: 8_192 }, count: 1, priority: "low" });
    const huge = workload({ asks: { cpu: 16_000, memory: 0 }, count: 1 });
    const rooms = [
      room("big", 8_000, 16_384),
      room("little", 2_000, 1_024),
      room("gpu", 64_000, 1, { queues: ["gpu"] }),
    ];
    const { admitted, assigned, waits } = decideAll([small, large, huge], rooms);
    expect(admitted.map((id) => assigned.get(id))).toEqual(["little", "little", "big", "big"]);
    expect(waitSentence(waits.get(huge.id)!)).toBe(
      'it asks for 16 processors, and no live worker of queue "default" has so much; the most that one has: 8 processors and 16384 MiB',
    );
  });

  test("a task that needs a label or a type goes to a worker that offers all of it", () => {
    const gpu = workload({ needs: ["gpu"], count: 1 });
    const both = workload({ needs: ["gpu", "type:docker"], count: 1 });
    const none = workload({ needs: ["eu", "gpu"], count: 1 });
    const newer = workload({ needs: ["type:spark"], count: 1 });
    const busy = workload({ needs: ["old"], count: 1 });
    const rooms = [
      room("plain", 8_000, 16_384, { version: "0.2.0" }),
      room("gpu", 8_000, 16_000, { offers: ["gpu", "type:docker"] }),
      room("old", 8_000, 16_384, { offers: ["old"], slots: { process: 0 } }),
    ];
    const { admitted, assigned, waits } = decideAll([gpu, both, none, newer, busy], rooms);
    expect(admitted.map((id) => assigned.get(id))).toEqual(["gpu", "gpu"]);
    expect([none, newer, busy].map(({ id }) => waitSentence(waits.get(id)!))).toEqual([
      'no live worker of queue "default" has the labels "eu", "gpu"; there are versions 0.1.0, 0.2.0',
      'no live worker of queue "default" has an executor for tasks of type "spark"; there are versions 0.1.0, 0.2.0',
      'no worker of queue "default" with the label "old" has a slot free now',
    ]);
  });

  test("a worker without a free slot of the class, or without enough of one thing, is no place", () => {
    const asks = { cpu: 1_000, memory: 100 };
    const noSlot = room("a", 4_000, 4_000, { slots: { process: 0, function: 1, inline: 1 } });
    const noMemory = room("b", 4_000, 4_000, { free: { cpu: 4_000, memory: 99 } });
    const waiting = workload({ asks, count: 1 });
    const { waits } = decideAll([waiting], [noSlot, noMemory]);
    expect(waitSentence(waits.get(waiting.id)!)).toBe(
      'no worker of queue "default" has 1 processor and 100 MiB and a slot free now',
    );
  });

  test("a large task that has waited for long is not overtaken by small ones for ever", () => {
    const pool = { name: "db", size: 4, taken: 2 };
    const large = workload({ dagId: "a", pool, slots: 3, starvedMs: 700_000, count: 1 });
    const little = workload({ dagId: "b", pool, slots: 1, count: 5 });
    const { admitted, waits } = decideAll([large, little]);
    expect(admitted).toEqual([]);
    expect(waitSentence(waits.get(little.id)!)).toContain("kept for a larger one that has waited for long");
    const wide = workload({ dagId: "a", asks: { cpu: 0, memory: 900 }, starvedMs: 700_000, count: 1 });
    const narrow = workload({ dagId: "b", asks: { cpu: 0, memory: 100 }, count: 5 });
    const busy = { free: { cpu: 0, memory: 500 } };
    const second = decideAll(
      [wide, narrow],
      [room("one", 0, 1_000, busy), room("two", 0, 1_000, { free: { cpu: 0, memory: 200 } })],
    );
    expect(second.admitted.map((id) => second.assigned.get(id))).toEqual(["two", "two"]);
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
        const { admitted, waits } = decideAll(given);
        const of = new Map(given.map((entry) => [String(entry.id), entry]));
        const went = owners(admitted).map((id) => of.get(id)!);
        const dags = totals(
          went,
          (entry) => entry.dagId,
          () => 1,
        );
        const lanes = totals(
          went,
          (entry) => entry.lane,
          () => 1,
        );
        const taken = totals(
          went,
          (entry) => entry.pool?.name,
          (entry) => entry.slots,
        );
        for (const n of dags.values()) expect(n).toBeLessThanOrEqual(dagLimit);
        for (const n of lanes.values()) expect(n).toBeLessThanOrEqual(laneFree);
        for (const n of taken.values()) expect(n).toBeLessThanOrEqual(poolSize);
        for (const entry of given) {
          const left = entry.candidates.length - owners(admitted).filter((id) => id === String(entry.id)).length;
          expect(waits.has(entry.id)).toBe(left > 0);
          if (left === 0 || isKept(waits.get(entry.id)!)) continue;
          expect(fits(entry, { dags, lanes, taken }, { dagLimit, laneFree, poolSize })).toBe(false);
        }
      }),
    );
  });
});
