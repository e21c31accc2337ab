/**
 * BullMQ as its documentation has it: flows for what waits for other jobs, added in bulk, and one worker that processes 100
 * jobs at once (its examples have 50 and 100). Producer and worker share this process, so that no other has to be woken up.
 * Completed jobs are kept, as by default: Sluice and DBOS keep theirs too.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { FlowProducer, Queue, Worker } from "bullmq";
import { fibo, gaps, serve } from "./serve.mjs";

const connection = { host: "127.0.0.1", port: Number(process.argv[2]), maxRetriesPerRequest: null };
const CONCURRENCY = 100;
const queueName = "bench";

const queue = new Queue(queueName, { connection });
const flows = new FlowProducer({ connection });

/** Of the jobs that run: when the first of a fan began, and when the bodies of the others did. */
let begun = 0;
let bodies = [];

const BODIES = {
  noop: async () => undefined,
  stamp: async () => void bodies.push(performance.now()),
  fibo: async () => fibo(10),
  // A job has one parent at most, so the first of 1 → n → 1 adds the rest when it runs.
  first: async ({ data: { width, last } }) => {
    begun = performance.now();
    await flows.add({
      ...job("noop", last),
      children: Array.from({ length: width }, () => ({ name: "noop", queueName })),
    });
  },
};

const worker = new Worker(queueName, (one) => BODIES[one.name](one), { connection, concurrency: CONCURRENCY });
const waiting = new Map();
// After Redis has written it to its file: a worker says so when the call that moves the job has returned.
worker.on("completed", ({ id }) => waiting.get(id)?.());
worker.on("failed", (_, error) => process.send({ error: String(error) }));
worker.on("error", (error) => process.send({ error: String(error) }));
await worker.waitUntilReady();

const job = (name, jobId, data = {}) => ({ name, queueName, data, opts: { jobId } });

const completed = (id) =>
  new Promise((resolve) => {
    waiting.set(id, () => {
      waiting.delete(id);
      resolve(performance.now());
    });
  });

/** A flow runs its deepest job first. */
function chain(name, steps, id) {
  let flow = { name, queueName, data: {} };
  for (let n = 1; n < steps; n++) flow = { name, queueName, data: {}, children: [flow] };
  return { ...flow, opts: { jobId: id } };
}

async function timedChain(name, steps) {
  const id = randomUUID();
  const end = completed(id);
  const called = performance.now();
  await flows.add(chain(name, steps, id));
  return { called, ended: await end };
}

serve({
  async chain({ steps }) {
    bodies = [];
    await timedChain("stamp", steps);
    return gaps(bodies);
  },
  async fibo({ steps }) {
    const { called, ended } = await timedChain("fibo", steps);
    return [ended - called];
  },
  async fan({ width }) {
    const last = randomUUID();
    const end = completed(last);
    const called = performance.now();
    await queue.add("first", { width, last });
    const ended = await end;
    return [called, begun].map((from) => ((width + 2) * 1_000) / (ended - from));
  },
  async start({ count, pauseMs }) {
    const values = [];
    for (let n = 0; n < count; n++) {
      await delay(pauseMs);
      bodies = [];
      const id = randomUUID();
      const end = completed(id);
      const called = performance.now();
      await queue.add("stamp", {}, { jobId: id });
      await end;
      values.push(bodies[0] - called);
    }
    return values;
  },
  async many({ runs, steps }) {
    const ids = Array.from({ length: runs }, () => randomUUID());
    const ends = ids.map(completed);
    const called = performance.now();
    await flows.addBulk(ids.map((id) => chain("noop", steps, id)));
    const ended = Math.max(...(await Promise.all(ends)));
    return [(runs * 1_000) / (ended - called)];
  },
});
