import { startEmbeddedPostgres } from "#lib/embedded/start.ts";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fusedSteps } from "../fused.ts";
import { pgBossRate } from "../limits.ts";
import { type Engine, type Order, startPeer } from "../engines/engine.ts";
import { installPeers } from "../engines/install.ts";
import { createOurs } from "../engines/ours.ts";
import { startRedis } from "../engines/redis.ts";
import { type Figure, figureOf, percentile, type Target } from "../report.ts";
import { whenSignalled } from "../stopping.ts";
import type { System } from "../system.ts";
import type { MeasureContext } from "./measure.ts";

const STEPS = 500;
const STARTS = 1_000;
const WARM_UP_STARTS = 10;
/** Between two starts, so that each finds an idle engine; not a divisor of any interval of ours. */
const PAUSE_MS = 53;

type Peer = "dbos" | "bullmq";
const PEERS: readonly Peer[] = ["dbos", "bullmq"];

/** One figure of an order: what it is made of, and what ours has to be against each peer. */
type Row = {
  id: string;
  unit: string;
  of(figures: readonly number[]): number;
  /** Over all rounds together, where a round alone has too few values. */
  pooled?: true;
  targets?: Partial<Record<Peer, Target>>;
};
type Part = { order: Order; ours: readonly Ours[]; rows: readonly Row[] };
type Ours = "ours-F" | "ours-W";
const BOTH: readonly Ours[] = ["ours-F", "ours-W"];

const first = (figures: readonly number[]): number => figures[0]!;
const fanOf = (width: number, ours: readonly Ours[]): Part => {
  const targets = { dbos: { atLeast: 1.2 }, bullmq: { atLeast: 1.2 } };
  return {
    order: { measure: "fan", width },
    ours,
    rows: [
      { id: `fan.${width}`, unit: "tasks/s", of: first, targets },
      // Without the call and the making of the run.
      { id: `fan.${width}.begun`, unit: "tasks/s", of: (figures) => figures[1]! },
    ],
  };
};

const partsOf = (rounds: number): readonly Part[] => [
  {
    order: { measure: "chain", steps: STEPS },
    ours: BOTH,
    rows: [
      {
        id: "chain.p50",
        unit: "ms",
        of: (figures) => percentile(figures, 50),
        targets: { dbos: { atMost: 0.8 }, bullmq: { atMost: 2 } },
      },
      { id: "chain.p99", unit: "ms", of: (figures) => percentile(figures, 99) },
    ],
  },
  {
    order: { measure: "fibo", steps: 40 },
    ours: ["ours-W"],
    rows: [{ id: "fibo-40", unit: "ms", of: first, targets: { dbos: { atMost: 0.9 } } }],
  },
  fanOf(1_000, BOTH),
  fanOf(10_000, ["ours-F"]),
  {
    order: { measure: "start", count: Math.ceil(STARTS / rounds), pauseMs: PAUSE_MS },
    ours: BOTH,
    rows: [
      { id: "start.p50", unit: "ms", of: (figures) => percentile(figures, 50), targets: { dbos: { atMost: 2 } } },
      {
        id: "start.p99",
        unit: "ms",
        of: (figures) => percentile(figures, 99),
        pooled: true,
        targets: { dbos: { atMost: 2 } },
      },
    ],
  },
  {
    order: { measure: "many", runs: 1_000, steps: 5 },
    ours: ["ours-F"],
    rows: [{ id: "many", unit: "runs/s", of: first }],
  },
];

/** For each part and engine, what each round gave; the first round is a warm-up and not among them. */
type Measured = ReadonlyMap<Part, ReadonlyMap<string, number[][]>>;

/**
 * peers: ours beside DBOS and BullMQ, which are measured in turn: each round asks every engine for one thing, then for the next,
 * while the others stand still. The ratios are those of the rounds. Besides, a step of a chain by one statement alone, and
 * pg-boss alone, in the same rounds.
 */
export async function peers({ system, pairs }: MeasureContext): Promise<Figure[]> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  await installPeers(say);
  const stops: (() => Promise<void>)[] = [];
  try {
    const parts = partsOf(pairs);
    const engines = await startEngines(system, parts, stops, say);
    const fused: number[] = [];
    const pgBoss: number[] = [];
    const measured = new Map(parts.map((part) => [part, new Map<string, number[][]>()]));
    for (const engine of engines) engine.stand();
    for (let round = 0; round <= pairs; round++) {
      say(`bench: ${round === 0 ? "warm-up" : `round ${round} of ${pairs}`}`);
      for (const part of parts) await oneRound(part, engines, measured.get(part)!, round === 0);
      // Ours is idle and does not stand still: where it does, it may hold locks of the tables that pg-boss works with.
      system.go();
      fused.push(percentile(await fusedSteps(system.pool, STEPS), 50));
      pgBoss.push(await pgBossRate(system.pool));
      system.stand();
    }
    return figuresOf(measured, engines, fused.slice(1), pgBoss.slice(1));
  } finally {
    system.go();
    for (const stop of stops.toReversed()) await stop();
  }
}

async function startEngines(
  system: System,
  parts: readonly Part[],
  stops: (() => Promise<void>)[],
  say: (line: string) => void,
): Promise<Engine[]> {
  const engines: Engine[] = [];
  const add = (engine: Engine): void => {
    engines.push(engine);
    stops.push(() => engine.stop());
  };
  for (const kind of ["F", "W"] as const) {
    const orders = parts.filter(({ ours }) => ours.includes(`ours-${kind}`)).map(({ order }) => order);
    add(await createOurs(system, kind, orders));
  }
  const postgres = await startPostgres();
  stops.push(postgres.stop);
  add(await startPeer("dbos", "dbos.mjs", postgres.url));
  const redis = await startRedis();
  if (redis === undefined) {
    say("bench: BullMQ is left out, because redis-server is not installed (on Debian: apt-get install redis-server)");
    return engines;
  }
  stops.push(() => redis.stop());
  add(await startPeer("bullmq", "bullmq.mjs", String(redis.port)));
  return engines;
}

/** For DBOS alone: the same Postgres with the same settings, durable commits among them, as ours has. */
async function startPostgres(): Promise<{ url: string; stop(): Promise<void> }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-bench-dbos-"));
  await chmod(folder, 0o711);
  const starting = startEmbeddedPostgres({
    dataDir: path.join(folder, "postgres"),
    logFile: path.join(folder, "postgres.log"),
    endsWithOwner: true,
  });
  const discard = async (): Promise<void> => {
    await starting.then((server) => server.stop()).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  };
  const forget = whenSignalled(discard);
  const { url } = await starting;
  return {
    url,
    async stop() {
      await discard();
      forget();
    },
  };
}

async function oneRound(
  part: Part,
  engines: readonly Engine[],
  into: Map<string, number[][]>,
  isWarmUp: boolean,
): Promise<void> {
  const { order } = part;
  const asked = order.measure === "start" && isWarmUp ? { ...order, count: WARM_UP_STARTS } : order;
  for (const engine of engines) {
    if (engine.name.startsWith("ours") && !part.ours.some((name) => name === engine.name)) continue;
    engine.go();
    // Wakes up what stood still, its connections and its caches.
    await engine.run({ measure: "start", count: 3, pauseMs: PAUSE_MS });
    const figures = await engine.run(asked);
    engine.stand();
    into.set(engine.name, [...(into.get(engine.name) ?? []), figures]);
  }
}

function figuresOf(measured: Measured, engines: readonly Engine[], fused: number[], pgBoss: number[]): Figure[] {
  const figures: Figure[] = [];
  for (const [part, of] of measured) {
    for (const row of part.rows) {
      const runsOf = (name: string): number[] => {
        const rounds = of.get(name)!.slice(1);
        return row.pooled ? [row.of(rounds.flat())] : rounds.map(row.of);
      };
      const names = PEERS.filter((peer) => engines.some(({ name }) => name === peer));
      for (const ours of part.ours)
        for (const peer of names) {
          const target = row.targets?.[peer];
          figures.push(
            figureOf({
              id: `${row.id}/${peer}`,
              kind: ours === "ours-F" ? "F" : "W",
              unit: row.unit,
              runs: runsOf(ours),
              limit: { runs: runsOf(peer), ...(target === undefined ? {} : { target }) },
            }),
          );
        }
    }
  }
  return [...figures, ...floorFigures(measured, fused, pgBoss)];
}

/** Against what the database can do at best. */
function floorFigures(measured: Measured, fused: number[], pgBoss: number[]): Figure[] {
  return [...measured].flatMap(([{ order }, of]) => {
    const ours = of.get("ours-F")?.slice(1) ?? [];
    if (order.measure === "chain") {
      const p50 = ours.map((steps) => percentile(steps, 50));
      const p99 = ours.map((steps) => percentile(steps, 99));
      return [
        figureOf({
          id: "chain.p50/fused",
          kind: "F",
          unit: "ms",
          runs: p50,
          limit: { runs: fused, target: { atMost: 1.8 } },
        }),
        figureOf({
          id: "chain.p99/p50",
          kind: "F",
          unit: "ms",
          runs: p99,
          limit: { runs: p50, target: { atMost: 4 } },
        }),
      ];
    }
    if (order.measure !== "fan") return [];
    return [
      figureOf({
        id: `fan.${order.width}/pg-boss`,
        kind: "F",
        unit: "tasks/s",
        runs: ours.map((figures) => figures[1]!),
        limit: { runs: pgBoss, target: { atLeast: 0.25 } },
      }),
    ];
  });
}
