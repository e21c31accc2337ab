import http from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { chain, fan, single } from "../dags.ts";
import { stepsMs } from "../runs.ts";
import type { System } from "../system.ts";
import type { Engine, Order } from "./engine.ts";

export type Kind = "F" | "W";

/** Where tasks report that they have begun. */
type Door = { port: number; begun(): Promise<number>; close(): void };

/**
 * Sluice, measured from the points that `bench/peers/serve.mjs` says: a run's instants are those of its rows, and the call that triggers
 * it is dated by the database just before, so that one clock dates both. A task of kind F is a no-op, and at the start an
 * HTTP call that ends here; one of kind W is a function, which reads the clock itself and then calls.
 */
export async function createOurs(system: System, kind: Kind, orders: readonly Order[]): Promise<Engine> {
  const door = await openDoor();
  // Before anything is measured: a scheduler that loads files takes from what it is measured beside.
  for (const order of [START, ...orders]) await system.addDag(dagId(order, kind), sourceOf(order, kind, door.port));
  return {
    name: `ours-${kind}`,
    run: (order) => measure(system, kind, door, order),
    stand: () => system.stand(),
    go: () => system.go(),
    async stop() {
      door.close();
      await Promise.resolve();
    },
  };
}

const START: Order = { measure: "start", count: 1, pauseMs: 0 };

const dagId = (order: Order, kind: Kind): string =>
  `${order.measure}${order.measure === "fan" ? `-${order.width}` : ""}-${kind.toLowerCase()}`;

function sourceOf(order: Order, kind: Kind, port: number): string {
  const id = dagId(order, kind);
  const body = kind === "F" ? "noop" : "fibo";
  if (order.measure === "fan") return fan(id, order.width, body);
  if (order.measure !== "start") return chain(id, order.steps, body);
  const url = `http://127.0.0.1:${port}/`;
  // The system's steady clock is one for all processes.
  const stamped = `fn(async () => { const at = process.hrtime.bigint(); await fetch("${url}" + at); })`;
  return single(id, kind === "F" ? `http({ url: "${url}" })` : stamped);
}

async function measure(system: System, kind: Kind, door: Door, order: Order): Promise<number[]> {
  const id = dagId(order, kind);
  // Functions of one version have processes of their own, which other versions take the place of: they are warm after a run.
  if (kind === "W" && order.measure !== "start") await timed(system, id);
  switch (order.measure) {
    case "chain":
      return stepsMs(system.pool, (await timed(system, id)).runId);
    case "fibo":
      return [(await timed(system, id)).calledMs];
    case "fan": {
      const run = await timed(system, id);
      return [run.calledMs, run.startedMs].map((ms) => ((order.width + 2) * 1_000) / ms);
    }
    case "start":
      return starts(system, id, door, order);
    case "many":
      return [await many(system, id, order.runs)];
  }
}

type Times = { runId: string; calledMs: number; startedMs: number };

/** One run: the milliseconds from the call and from the start of the run to its end. */
async function timed(system: System, id: string): Promise<Times> {
  const called = await now(system);
  const runId = await system.trigger(id);
  await system.ended(runId);
  const { rows } = await system.pool.query<{ calledMs: number; startedMs: number; state: string }>(
    `select 1000 * extract(epoch from ended_at - $2::timestamptz)::float8 as "calledMs",
            1000 * extract(epoch from ended_at - started_at)::float8 as "startedMs", state
       from sluice.dag_run where id = $1`,
    [runId, called],
  );
  const { state, ...times } = rows[0]!;
  if (state !== "success") throw new Error(`run ${runId} of ${id} ended ${state}: the figure counts for nothing`);
  return { runId, ...times };
}

/** As text: a `Date` has no microseconds. */
async function now({ pool }: System): Promise<string> {
  const { rows } = await pool.query<{ at: string }>({ name: "bench-now", text: "select sluice.clock()::text as at" });
  return rows[0]!.at;
}

async function starts(
  system: System,
  id: string,
  door: Door,
  { count, pauseMs }: Extract<Order, { measure: "start" }>,
): Promise<number[]> {
  const values: number[] = [];
  for (let n = 0; n < count; n++) {
    await delay(pauseMs);
    const begun = door.begun();
    const called = steadyMs();
    const runId = await system.trigger(id);
    values.push((await begun) - called);
    await system.ended(runId);
  }
  return values;
}

async function many(system: System, id: string, runs: number): Promise<number> {
  const called = await now(system);
  const ids = await Promise.all(Array.from({ length: runs }, () => system.trigger(id)));
  await system.drained();
  const { rows } = await system.pool.query<{ seconds: number; ended: number }>(
    `select extract(epoch from max(ended_at) - $2::timestamptz)::float8 as seconds,
            count(*) filter (where state = 'success')::int as ended
       from sluice.dag_run where id = any ($1::bigint[])`,
    [ids, called],
  );
  const { seconds, ended } = rows[0]!;
  if (ended !== runs) throw new Error(`only ${ended} of ${runs} runs ended well`);
  return runs / seconds;
}

const steadyMs = (at: bigint = process.hrtime.bigint()): number => Number(at) / 1e6;

async function openDoor(): Promise<Door> {
  let arrived: (at: number) => void = () => undefined;
  const server = http.createServer((request, response) => {
    const at = request.url!.slice(1);
    arrived(at === "" ? steadyMs() : steadyMs(BigInt(at)));
    response.end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    begun: () => new Promise((resolve) => (arrived = resolve)),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
