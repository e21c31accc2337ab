/**
 * DBOS Transact as its documentation has it for workflows in one process: a workflow whose steps are `DBOS.runStep`, started
 * by `DBOS.startWorkflow` without a queue (a queue hands over by a poll, and would be slower), steps at once
 * by `Promise.all`: they start in a fixed order, which is what determinism asks for. Each step is committed by itself.
 */
import { setTimeout as delay } from "node:timers/promises";
import { DBOS } from "@dbos-inc/dbos-sdk";
import { fibo, gaps, serve } from "./serve.mjs";

const [databaseUrl] = process.argv.slice(2);
/** The default. */
const CONNECTIONS = 10;

const noop = async () => undefined;

/** Of the workflow that runs: when it began, and when the bodies of its steps did. */
let begun = 0;
let bodies = [];

const chain = DBOS.registerWorkflow(
  async (steps) => {
    const step = async () => void bodies.push(performance.now());
    for (let n = 0; n < steps; n++) await DBOS.runStep(step, { name: "step" });
  },
  { name: "chain" },
);
const chainOfFibo = DBOS.registerWorkflow(
  async (steps) => {
    for (let n = 0; n < steps; n++) await DBOS.runStep(async () => fibo(10), { name: "fibo" });
  },
  { name: "fibo" },
);
const chainOfNoop = DBOS.registerWorkflow(
  async (steps) => {
    for (let n = 0; n < steps; n++) await DBOS.runStep(noop, { name: "noop" });
  },
  { name: "noop" },
);
const fan = DBOS.registerWorkflow(
  async (width) => {
    begun = performance.now();
    await DBOS.runStep(noop, { name: "first" });
    await Promise.all(Array.from({ length: width }, () => DBOS.runStep(noop, { name: "middle" })));
    await DBOS.runStep(noop, { name: "last" });
  },
  { name: "fan" },
);

DBOS.setConfig({
  name: "bench",
  systemDatabaseUrl: databaseUrl,
  systemDatabasePoolSize: CONNECTIONS,
  logLevel: "error",
});
await DBOS.launch();

/** Milliseconds from the call to the committed end. */
async function timed(workflow, size) {
  const called = performance.now();
  const handle = await DBOS.startWorkflow(workflow)(size);
  await handle.getResult();
  return { called, ended: performance.now() };
}

serve({
  async chain({ steps }) {
    bodies = [];
    await timed(chain, steps);
    return gaps(bodies);
  },
  async fibo({ steps }) {
    const { called, ended } = await timed(chainOfFibo, steps);
    return [ended - called];
  },
  async fan({ width }) {
    const { called, ended } = await timed(fan, width);
    return [called, begun].map((from) => ((width + 2) * 1_000) / (ended - from));
  },
  async start({ count, pauseMs }) {
    const values = [];
    for (let n = 0; n < count; n++) {
      await delay(pauseMs);
      bodies = [];
      const { called } = await timed(chain, 1);
      values.push(bodies[0] - called);
    }
    return values;
  },
  async many({ runs, steps }) {
    const called = performance.now();
    const handles = await Promise.all(Array.from({ length: runs }, () => DBOS.startWorkflow(chainOfNoop)(steps)));
    await Promise.all(handles.map((handle) => handle.getResult()));
    return [(runs * 1_000) / (performance.now() - called)];
  },
});
