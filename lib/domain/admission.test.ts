import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Admission, decideAdmission, MAX_GRANTS, RESERVE_AFTER_MS } from "./admission.ts";
import type { Demand, LaneRoom, LiveClass, ReadyClass, ReadyRun, TaskClass, WorkerRoom } from "./demand.ts";
import { NEW_CLOCK } from "./lane-clock.ts";
import { type WaitReason, waitSentence, withHolders } from "./wait-reason.ts";

let nextId = 1;

function ready(given: Partial<ReadyClass> = {}): ReadyClass {
  return {
    id: nextId++,
    dagId: "d",
    laneId: 1,
    lane: "default.process",
    priority: "medium",
    pool: null,
    slots: 1,
    asks: { cpu: 0, memory: 0 },
    needs: [],
    ready: 10,
    hasMore: false,
    runs: null,
    lastAdmittedAt: 0,
    waitedMs: 0,
    ...given,
  };
}

function lane(given: Partial<LaneRoom> = {}): LaneRoom {
  return {
    id: 1,
    lane: "default.process",
    slots: 4,
    room: 4,
    groupId: given.id ?? 1,
    ownSlots: 0,
    clock: NEW_CLOCK,
    ...given,
  };
}

function demand(of: readonly ReadyClass[], given: Partial<Demand> = {}): Demand {
  const lanes = given.lanes ?? [lane()];
  return {
    lanes,
    groups: lanes.map(({ groupId: id, slots, room }) => ({ id, slots, room })),
    pools: new Map(),
    dags: new Map(),
    systemLimit: null,
    live: [],
    liveOfRuns: new Map(),
    workers: [],
    ready: of,
    ...given,
  };
}

function worker(id: string, cpu: number, memory: number, given: Partial<WorkerRoom> = {}): WorkerRoom {
  const size = { cpu, memory };
  const slots = { process: 4, function: 4, inline: 4 };
  return { id, queues: ["default"], offers: [], version: "0.1.0", slots, size, freeSlots: slots, free: size, ...given };
}

const live = (of: TaskClass, n: number): LiveClass => ({ of, live: n });
const classes = ({ grants }: Admission): number[] => grants.map(({ classId }) => classId);
const workersOf = ({ grants }: Admission): (string | null)[] => grants.map(({ workerId }) => workerId);
const sentence = ({ waits }: Admission, { id }: ReadyClass): string => waitSentence(waits.get(id)!);
const many = <T>(count: number, of: T): T[] => Array.from({ length: count }, () => of);

describe("who goes next", () => {
  test("while all priorities wait, 16 high, 4 medium and 1 low of 21 go", () => {
    const given = (["low", "high", "medium"] as const).map((priority) =>
      ready({ priority, dagId: priority, ready: 99 }),
    );
    const decided = decideAdmission(demand(given, { lanes: [lane({ room: 42 })] }));
    const counts = given.map(({ id }) => classes(decided).filter((each) => each === id).length);
    expect(counts).toEqual([2, 32, 8]);
  });

  test("the shares of the priorities go on from pass to pass, also with one slot at a time", () => {
    let clock = NEW_CLOCK;
    const counts = { high: 0, medium: 0, low: 0 };
    for (let n = 0; n < 210; n++) {
      const given = (["low", "high", "medium"] as const).map((priority) => ready({ priority, dagId: priority }));
      const decided = decideAdmission(demand(given, { lanes: [lane({ room: 1, clock })] }));
      clock = decided.clocks.get(1)!;
      counts[given.find(({ id }) => id === classes(decided)[0])!.priority]++;
    }
    expect(counts).toEqual({ high: 160, medium: 40, low: 10 });
  });

  test("a high task behind a thousand low ones waits for at most one of each lower priority, however old they are", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("high", "medium", "low" as const), { maxLength: 60 }), (history) => {
        let clock = NEW_CLOCK;
        const admitted = (priorities: readonly ReadyClass[]): ReadyClass => {
          const decided = decideAdmission(demand(priorities, { lanes: [lane({ room: 1, clock })] }));
          clock = decided.clocks.get(1)!;
          return priorities.find(({ id }) => id === classes(decided)[0])!;
        };
        // Whatever was admitted before, in a lane in which only that was ready.
        for (const priority of history) admitted([ready({ priority })]);
        const low = ready({ priority: "low", dagId: "backlog", ready: 1_000, waitedMs: 36_000_000 });
        const medium = ready({ priority: "medium", dagId: "other", ready: 1_000, waitedMs: 36_000_000 });
        const high = ready({ priority: "high", dagId: "urgent", ready: 1, lastAdmittedAt: 9e12 });
        let before = 0;
        while (admitted([low, medium, high]) !== high) before++;
        expect(before).toBeLessThanOrEqual(2);
      }),
    );
  });

  test("within a priority the DAG with the smallest share of the lane goes first, whatever its backlog", () => {
    const backlog = ready({ dagId: "big", ready: 1_000 });
    const newcomer = ready({ dagId: "small", ready: 1, lastAdmittedAt: 5 });
    const decided = decideAdmission(
      demand([backlog, newcomer], { lanes: [lane({ room: 7 })], live: [live(backlog, 3)] }),
    );
    expect(classes(decided)[0]).toBe(newcomer.id);
    expect(classes(decided)).toHaveLength(4);
  });

  test("what a DAG has in another lane is no share of this one", () => {
    const elsewhere = { ...ready({ dagId: "big" }), laneId: 2 };
    const big = ready({ dagId: "big", ready: 1, lastAdmittedAt: 1 });
    const small = ready({ dagId: "small", ready: 1, lastAdmittedAt: 2 });
    const lanes = [lane({ room: 1 }), lane({ id: 2, lane: "other.process", room: 50 })];
    expect(classes(decideAdmission(demand([small, big], { lanes, live: [live(elsewhere, 9)] })))).toEqual([big.id]);
  });

  test("of equal shares the class that was admitted longest ago goes first, so each has its turn in so many passes", () => {
    const given = Array.from({ length: 50 }, (_, n) => ready({ dagId: `d${n}`, ready: 1_000 }));
    const turns = new Map<number, number>();
    let now = 1;
    let all = given;
    for (let n = 0; n < 50; n++) {
      const [id] = classes(decideAdmission(demand(all, { lanes: [lane({ room: 1 })] })));
      turns.set(id!, (turns.get(id!) ?? 0) + 1);
      all = all.map((of) => (of.id === id ? { ...of, lastAdmittedAt: now++ } : of));
    }
    expect([...turns.values()]).toEqual(many(50, 1));
  });

  test("what is known of a class may not be all that is ready: the pass is to be repeated", () => {
    expect(decideAdmission(demand([ready({ ready: 1, hasMore: true })])).again).toBe(true);
    expect(decideAdmission(demand([ready({ ready: 1 })])).again).toBe(false);
  });

  test("a pass ends at a number of tasks, says so, and gives no reason for those it did not come to", () => {
    const given = many(3, MAX_GRANTS).map((left) => ready({ ready: left }));
    const lanes = [lane({ slots: 9 * MAX_GRANTS, room: 9 * MAX_GRANTS })];
    const { grants, again, isPartial, waits } = decideAdmission(demand(given, { lanes }));
    expect([grants.length, again, isPartial, waits.size]).toEqual([MAX_GRANTS, true, true, 0]);
  });
});

describe("why the others wait", () => {
  test("is told, with the numbers", () => {
    const full = ready({ dagId: "a", pool: "db", ready: 5 });
    const unserved = ready({ dagId: "b", laneId: 2, lane: "gpu.process" });
    const limited = ready({ dagId: "c" });
    const missing = ready({ dagId: "e", pool: "nope" });
    const inRun = ready({ dagId: "f", runs: [{ runId: "7", ready: 10 }] });
    const tooLarge = ready({ dagId: "g", pool: "db", slots: 3 });
    const lanes = [lane(), lane({ id: 2, lane: "gpu.process", slots: 0, room: 0 })];
    const dags = new Map([
      ["c", { limit: 3, runLimit: null }],
      ["f", { limit: null, runLimit: 2 }],
    ]);
    const decided = decideAdmission(
      demand([full, unserved, limited, missing, inRun, tooLarge], {
        lanes: [{ ...lanes[0]!, room: 20 }, lanes[1]!],
        dags,
        pools: new Map([["db", 2]]),
        live: [live(full, 1), live({ ...limited, laneId: 3 }, 3)],
        liveOfRuns: new Map([["7", 2]]),
      }),
    );
    expect(classes(decided)).toEqual([full.id]);
    expect([full, unserved, limited, missing, inRun, tooLarge].map((of) => sentence(decided, of))).toEqual([
      'pool "db" has 2 of 2 slots taken, and this task wants 1',
      'no live worker serves queue "gpu"',
      'DAG "c" has 3 of 3 tasks going (limits.maxActiveTasks)',
      'there is no pool "nope"; create it with: sluice pools set nope <slots>',
      "its run has 2 of 2 tasks going (limits.maxActiveTasksPerRun)",
      'it wants 3 slots of pool "db", which has 2 in all; enlarge it with: sluice pools set db 3',
    ]);
  });

  test("the whole system's limit counts what every DAG has going, and says who", () => {
    const given = [ready({ dagId: "a" }), ready({ dagId: "b" })];
    const decided = decideAdmission(demand(given, { systemLimit: 5, live: [live(ready({ laneId: 9 }), 3)] }));
    expect(decided.grants).toHaveLength(2);
    const reason = withHolders(decided.waits.get(given[0]!.id)!, [
      { dagId: "b", lane: "x.inline", pool: null, tasks: 1, slots: 1, particular: false },
      { dagId: "a", lane: "default.process", pool: null, tasks: 3, slots: 9, particular: false },
      { dagId: "b", lane: "default.process", pool: "p", tasks: 1, slots: 1, particular: false },
    ]);
    expect(waitSentence(reason)).toBe(
      "5 of 5 tasks are going in the whole system (sluice limits), held by a (3), b (2)",
    );
  });

  test("lanes that share a worker use its slots once, and say that others have them", () => {
    const lanes = [lane({ groupId: 1 }), lane({ id: 2, lane: "other.process", groupId: 1 })];
    const given = [ready({ dagId: "a" }), ready({ dagId: "b", laneId: 2, lane: "other.process" })];
    const decided = decideAdmission(demand(given, { lanes, groups: [{ id: 1, slots: 4, room: 5 }] }));
    expect(decided.grants).toHaveLength(5);
    expect(sentence(decided, given[1]!)).toBe(
      'all 4 process slots of queue "other" and the other queues of its workers are taken',
    );
  });
});

describe("a task that only some workers can take", () => {
  test("goes to one that has what it asks for, where least is left over", () => {
    const small = ready({ asks: { cpu: 1_000, memory: 512 }, ready: 3 });
    const large = ready({ asks: { cpu: 4_000, memory: 8_192 }, ready: 1, lastAdmittedAt: 9e15 });
    const huge = ready({ asks: { cpu: 16_000, memory: 0 }, ready: 1 });
    const workers = [
      worker("big", 8_000, 16_384),
      worker("little", 2_000, 1_024),
      worker("gpu", 64_000, 1, { queues: ["gpu"] }),
    ];
    const decided = decideAdmission(demand([small, large, huge], { workers }));
    expect(workersOf(decided)).toEqual(expect.arrayContaining(["big", "big", "little", "little"]));
    expect(sentence(decided, huge)).toBe(
      'it asks for 16 processors, and no live worker of queue "default" has so much; the most that one has: 8 processors and 16384 MiB',
    );
  });

  test("goes to one that offers its labels and type", () => {
    const gpu = ready({ needs: ["gpu"], ready: 1 });
    const both = ready({ needs: ["gpu", "type:docker"], ready: 1 });
    const none = ready({ needs: ["eu", "gpu"], ready: 1 });
    const newer = ready({ needs: ["type:spark"], ready: 1 });
    const busy = ready({ needs: ["old"], ready: 1 });
    const workers = [
      worker("plain", 8_000, 16_384, { version: "0.2.0" }),
      worker("gpu", 8_000, 16_000, { offers: ["gpu", "type:docker"] }),
      worker("old", 8_000, 16_384, { offers: ["old"], freeSlots: { process: 0 } }),
    ];
    const decided = decideAdmission(demand([gpu, both, none, newer, busy], { workers }));
    expect(workersOf(decided)).toEqual(["gpu", "gpu"]);
    expect([none, newer, busy].map((of) => sentence(decided, of))).toEqual([
      'no live worker of queue "default" has the labels "eu", "gpu"; there are versions 0.1.0, 0.2.0',
      'no live worker of queue "default" has an executor for tasks of type "spark"; there are versions 0.1.0, 0.2.0',
      'no worker of queue "default" with the label "old" has a slot free now',
    ]);
  });

  test("has the slots kept for which it waits, also while its lane is full", () => {
    const of = ready({ needs: ["x"], asks: { cpu: 0, memory: 100 }, ready: 1, priority: "low" });
    const plain = ready({ dagId: "plain", ready: 9, priority: "high" });
    const busy = { offers: ["x"], freeSlots: { process: 0 } };
    const workers = [
      worker("busy", 9, 900, busy),
      worker("small", 9, 900, { ...busy, free: { cpu: 9, memory: 99 } }),
      worker("of another kind", 9, 900, { freeSlots: { process: 0 } }),
      worker("of functions", 9, 900, { offers: ["x"], slots: { process: 0 }, freeSlots: { process: 0 } }),
    ];
    const keys = ["slot:1", "worker:process:busy"];
    expect([...decideAdmission(demand([of], { workers })).slotKeys]).toEqual(keys);
    const full = decideAdmission(demand([of, plain], { workers, live: [live(plain, 10)] }));
    expect(full.waits.get(of.id)!.code).toBe("RESOURCES_TAKEN");
    expect([...full.slotKeys]).toEqual(keys);
    // What lacks memory is not helped by a slot.
    expect([...decideAdmission(demand([of], { workers: [workers[1]!] })).slotKeys]).toEqual([]);
  });

  test("takes no slot that falls free where a pool or a limit keeps it from running, whose reason that is", () => {
    const workers = [worker("busy", 9, 900, { offers: ["x"], freeSlots: { process: 0 } })];
    const pooled = ready({ needs: ["x"], ready: 1, pool: "licence" });
    const limited = ready({ dagId: "limited", needs: ["x"], ready: 1 });
    const pools = new Map([["licence", 1]]);
    const dags = new Map([["limited", { limit: 1, runLimit: null }]]);
    const taken = { live: [live(pooled, 1), live(limited, 1)], workers, pools, dags };
    for (const room of [2, 4]) {
      const decided = decideAdmission(demand([pooled, limited], { ...taken, lanes: [lane({ room })] }));
      expect([...decided.slotKeys]).toEqual([]);
      expect([pooled, limited].map(({ id }) => decided.waits.get(id)!.code)).toEqual(["POOL_FULL", "DAG_LIMIT"]);
    }
  });

  test("waits while no worker has a slot of its class, or enough of one thing", () => {
    const of = ready({ asks: { cpu: 1_000, memory: 100 }, ready: 1 });
    const workers = [
      worker("a", 4_000, 4_000, { freeSlots: { process: 0, function: 1, inline: 1 } }),
      worker("b", 4_000, 4_000, { free: { cpu: 4_000, memory: 99 } }),
    ];
    expect(sentence(decideAdmission(demand([of], { workers })), of)).toBe(
      'no worker of queue "default" has 1 processor and 100 MiB and a slot free now',
    );
  });
});

describe("what is kept free", () => {
  const pools = new Map([["db", 4]]);
  const waited = RESERVE_AFTER_MS;

  test("a large task that has waited is not overtaken by small ones for ever", () => {
    const large = ready({ dagId: "a", pool: "db", slots: 3, waitedMs: waited, ready: 1 });
    const little = ready({ dagId: "b", pool: "db", ready: 5, lastAdmittedAt: 1 });
    const decided = decideAdmission(demand([large, little], { pools, live: [live({ ...little, laneId: 9 }, 2)] }));
    expect(decided.grants).toEqual([]);
    expect(sentence(decided, little)).toContain("kept for a larger one that has waited for long");
    const wide = ready({ dagId: "a", asks: { cpu: 0, memory: 900 }, waitedMs: waited, ready: 1 });
    const narrow = ready({ dagId: "b", asks: { cpu: 0, memory: 100 }, ready: 5, lastAdmittedAt: 1 });
    const workers = [
      worker("one", 0, 1_000, { free: { cpu: 0, memory: 500 } }),
      worker("two", 0, 1_000, { free: { cpu: 0, memory: 200 } }),
    ];
    expect(workersOf(decideAdmission(demand([wide, narrow], { workers })))).toEqual(["two", "two"]);
  });

  test("nothing is kept for what can never fit", () => {
    const tooLarge = ready({ dagId: "a", pool: "db", slots: 5, waitedMs: 36_000_000 });
    const little = ready({ dagId: "b", pool: "db", ready: 50, lastAdmittedAt: 1 });
    const decided = decideAdmission(demand([tooLarge, little], { pools }));
    expect(decided.grants).toHaveLength(4);
    expect(decided.waits.get(tooLarge.id)).toEqual({ code: "POOL_TOO_SMALL", pool: "db", size: 4, wanted: 5 });
  });

  test("nothing is kept for what something else than the pool is in the way of", () => {
    const dags = new Map([["a", { limit: 1, runLimit: null }]]);
    const large = ready({ dagId: "a", pool: "db", slots: 3, waitedMs: waited });
    const little = ready({ dagId: "b", pool: "db", ready: 5, lastAdmittedAt: 1 });
    const busy = [live({ ...little, laneId: 9 }, 2), live({ ...large, pool: null, laneId: 9 }, 1)];
    expect(classes(decideAdmission(demand([large, little], { pools, dags, live: busy })))).toEqual(many(2, little.id));
    const particular = { ...large, dagId: "c", needs: ["x"] };
    const workers = [worker("x", 1, 1, { offers: ["x"], slots: { process: 0 } })];
    const decided = decideAdmission(demand([particular, little], { pools, workers, live: busy }));
    expect(classes(decided)).toEqual(many(2, little.id));
  });

  test("a pool is kept for one class only", () => {
    const first = ready({ dagId: "a", pool: "db", slots: 2, waitedMs: waited, ready: 1 });
    const second = ready({ dagId: "b", pool: "db", slots: 2, waitedMs: waited, ready: 1, lastAdmittedAt: 1 });
    const little = ready({ dagId: "c", pool: "db", ready: 5, lastAdmittedAt: 2 });
    const large = new Map([["db", 6]]);
    const decided = decideAdmission(
      demand([first, second, little], { pools: large, live: [live({ ...little, laneId: 9 }, 5)] }),
    );
    expect(decided.grants).toEqual([]);
    expect([first, second, little].map(({ id }) => decided.waits.get(id))).toMatchObject([
      { code: "POOL_FULL", taken: 5 },
      { code: "POOL_FULL", taken: 5 },
      { code: "POOL_FULL", kept: true },
    ]);
  });
});

type Scene = Demand & { sizes: { pool: number; dag: number; run: number; system: number } };

/** Classes of a few DAGs and runs in two lanes, with limits that may be smaller than what is live or asked for. */
const scenes: fc.Arbitrary<Scene> = fc
  .record({
    rows: fc.array(
      fc.record({
        dagId: fc.constantFrom("a", "b", "c"),
        laneId: fc.constantFrom(1, 2),
        pool: fc.constantFrom("p", "q", null),
        slots: fc.integer({ min: 1, max: 4 }),
        priority: fc.constantFrom("high", "medium", "low" as const),
        waitedMs: fc.constantFrom(0, RESERVE_AFTER_MS),
        lastAdmittedAt: fc.nat(5),
        ready: fc.tuple(fc.nat(4), fc.nat(4)),
        live: fc.nat(3),
      }),
      { minLength: 1, maxLength: 9 },
    ),
    room: fc.integer({ min: 0, max: 10 }),
    sizes: fc.record({ pool: fc.nat(6), dag: fc.integer({ min: 1, max: 6 }), run: fc.nat(4), system: fc.nat(14) }),
  })
  .map(({ rows, room, sizes }) => {
    const known = rows.map(({ dagId, laneId, ready: [one, two], live: _, ...row }) => {
      const runs: ReadyRun[] = [
        { runId: `${dagId}1`, ready: one + 1 },
        { runId: `${dagId}2`, ready: two },
      ];
      const sum = one + two + 1;
      return ready({ ...row, dagId, laneId, lane: `lane${laneId}.process`, runs, ready: sum });
    });
    const lanes = [1, 2].map((id) => lane({ id, lane: `lane${id}.process`, slots: 4, room }));
    const liveNow = known.map((of, index) => live(of, rows[index]!.live));
    const liveOfRuns = new Map<string, number>();
    for (const { of, live: n } of liveNow) liveOfRuns.set(`${of.dagId}1`, (liveOfRuns.get(`${of.dagId}1`) ?? 0) + n);
    const dags = new Map(["a", "b", "c"].map((id) => [id, { limit: sizes.dag, runLimit: sizes.run }]));
    const pools = new Map([
      ["p", sizes.pool],
      ["q", sizes.pool],
    ]);
    return { ...demand(known, { lanes, dags, pools, systemLimit: sizes.system, live: liveNow, liveOfRuns }), sizes };
  });

/** What is taken of everything with the first `count` grants: by the kind of limit and its name. */
function taken(scene: Scene, { grants }: Admission, count = grants.length): Map<string, number> {
  const sums = new Map<string, number>();
  const add = (key: string, more: number): void => void sums.set(key, (sums.get(key) ?? 0) + more);
  const addTask = (of: TaskClass, n: number): void => {
    add(`lane ${of.laneId}`, n);
    add(`dag ${of.dagId}`, n);
    add("system", n);
    if (of.pool !== null) add(`pool ${of.pool}`, n * of.slots);
  };
  for (const { of, live: n } of scene.live) addTask(of, n);
  for (const [runId, n] of scene.liveOfRuns) add(`run ${runId}`, n);
  const byId = new Map(scene.ready.map((of) => [of.id, of]));
  for (const { classId, runId } of grants.slice(0, count)) {
    addTask(byId.get(classId)!, 1);
    add(`run ${runId!}`, 1);
  }
  return sums;
}

const limitOf = (scene: Scene, key: string): number => {
  const { sizes, lanes } = scene;
  if (key.startsWith("lane")) return lanes[0]!.room;
  return sizes[key.split(" ")[0] as keyof Scene["sizes"]];
};

describe("whatever is ready, live and limited", () => {
  test("what a pass admits exceeds no limit of run, DAG, pool, system or lane, whatever classes it is of", () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const decided = decideAdmission(scene);
        const before = taken(scene, decided, 0);
        for (const [key, n] of taken(scene, decided)) {
          // A limit that is lower than what is live keeps out all that is new.
          expect([key, n <= Math.max(limitOf(scene, key), before.get(key) ?? 0)]).toEqual([key, true]);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("nothing stays that could go, but for what is kept free; every class with something left has a reason", () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const decided = decideAdmission(scene);
        const sums = taken(scene, decided);
        const hasRoom = (key: string, more: number): boolean => (sums.get(key) ?? 0) + more <= limitOf(scene, key);
        for (const of of scene.ready) {
          const went = decided.grants.filter(({ classId }) => classId === of.id);
          const reason: WaitReason | undefined = decided.waits.get(of.id);
          expect(reason !== undefined).toBe(went.length < of.ready);
          if (reason === undefined || (reason.code === "POOL_FULL" && reason.kept === true)) continue;
          const fits =
            hasRoom(`lane ${of.laneId}`, 1) &&
            hasRoom(`dag ${of.dagId}`, 1) &&
            hasRoom("system", 1) &&
            (of.pool === null || hasRoom(`pool ${of.pool}`, of.slots)) &&
            of.runs!.some(
              ({ runId, ready: n }) =>
                hasRoom(`run ${runId}`, 1) && n > went.filter((grant) => grant.runId === runId).length,
            );
          expect(fits).toBe(false);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("what can never fit changes nothing for the others", () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const impossible = ["p", "q"].map((pool) => {
          const runs = [{ runId: "z", ready: 9 }];
          const waitedMs = 36_000_000;
          return ready({
            dagId: "z",
            pool,
            slots: 7,
            laneId: 1,
            lane: "lane1.process",
            waitedMs,
            runs,
            priority: "high",
          });
        });
        const without = decideAdmission(scene);
        const beside = decideAdmission({ ...scene, ready: [...impossible, ...scene.ready] });
        expect(beside.grants).toEqual(without.grants);
        const codes = impossible.map(({ id }) => beside.waits.get(id)!.code);
        expect(new Set(codes)).toEqual(new Set(["POOL_TOO_SMALL"]));
      }),
    );
  });

  test("pass by pass, while tasks end, every task that can fit is admitted", () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const { sizes } = scene;
        fc.pre(scene.lanes[0]!.room > 0 && sizes.run > 0 && sizes.system > 0);
        let clocks = new Map(scene.lanes.map(({ id, clock }) => [id, clock]));
        let left = scene.ready.filter(({ pool, slots }) => pool === null || slots <= sizes.pool);
        const wanted = left.reduce((sum, { ready: n }) => sum + n, 0);
        // Each pass finds that all that was live has ended: as many passes as tasks must do.
        for (let n = 0; n <= wanted && left.length > 0; n++) {
          const lanes = scene.lanes.map((each) => ({ ...each, clock: clocks.get(each.id)! }));
          const decided = decideAdmission({ ...scene, lanes, live: [], liveOfRuns: new Map(), ready: left });
          clocks = new Map([...clocks, ...decided.clocks]);
          left = left.flatMap((of): ReadyClass[] => {
            const went = decided.grants.filter(({ classId }) => classId === of.id);
            if (went.length === of.ready) return [];
            const gone = (runId: string): number => went.filter((grant) => grant.runId === runId).length;
            const runs = of.runs!.map(({ runId, ready: count }) => ({ runId, ready: count - gone(runId) }));
            return [{ ...of, runs, ready: of.ready - went.length, waitedMs: went.length > 0 ? 0 : RESERVE_AFTER_MS }];
          });
        }
        expect(left).toEqual([]);
      }),
    );
  });

  test("a limit that shrinks takes back nothing, and lets nothing new in until there is room below it", () => {
    fc.assert(
      fc.property(scenes, fc.nat(3), (scene, by) => {
        const pools = new Map([...scene.pools].map(([name, size]) => [name, Math.max(0, size - by)]));
        const shrunk = { ...scene, pools, sizes: { ...scene.sizes, pool: Math.max(0, scene.sizes.pool - by) } };
        const decided = decideAdmission(shrunk);
        const [before, after] = [taken(shrunk, decided, 0), taken(shrunk, decided)];
        for (const name of ["pool p", "pool q"]) {
          if ((before.get(name) ?? 0) >= shrunk.sizes.pool) expect(after.get(name) ?? 0).toBe(before.get(name) ?? 0);
        }
      }),
    );
  });
});

test("two thousand classes in a lane with a few free slots are decided in a few milliseconds", () => {
  const given = Array.from({ length: 2_000 }, (_, n) => ready({ dagId: `d${n}`, ready: 1, hasMore: true }));
  const scene = demand(given, { lanes: [lane({ room: 500 })] });
  let shares = 0;
  const counting = {
    ...scene,
    ready: given.map((of) => Object.defineProperty({ ...of }, "dagId", { get: () => (shares++, `d${of.id}`) })),
  };
  decideAdmission(counting);
  // Each class is put into a heap once and each grant asks for the logarithm of the classes: far from 500 times 2,000.
  expect(shares).toBeLessThan(100_000);
});
