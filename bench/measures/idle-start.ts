import http from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { single } from "../dags.ts";
import { type Figure, figureOf, percentile } from "../report.ts";
import type { Measure, MeasureContext } from "./measure.ts";

const TRIGGERS = 100;
/** Between two triggers, so that each finds an idle system; not a divisor of any interval of ours. */
const PAUSE_MS = 83;

/** B6: an idle system, from the call that triggers a run to the first line of its task. */
export const idleStart: Measure = async (context) => {
  const { system } = context;
  let arrived: (at: number) => void = () => undefined;
  const server = http.createServer((_, response) => {
    arrived(performance.now());
    response.end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const task = (call: string): string => `http({ url: "http://127.0.0.1:${port}/" + ${call} })`;
    await system.addDag("idle-http", single("idle-http", task('""')));
    await system.addDag(
      "idle-fn",
      single("idle-fn", `fn(async () => { await fetch("http://127.0.0.1:${port}/"); return 1; })`),
    );
    const figures: Figure[] = [];
    for (const [dagId, kind] of [
      ["idle-http", "F"],
      ["idle-fn", "W"],
    ] as const) {
      const measure = (): Promise<number> =>
        new Promise((resolve, reject) => {
          const started = performance.now();
          arrived = (at) => resolve(at - started);
          system.trigger(dagId).catch(reject);
        });
      figures.push(...(await idleFigures(context, kind, measure)));
    }
    return figures;
  } finally {
    server.closeAllConnections();
    server.close();
  }
};

async function idleFigures(
  { system }: MeasureContext,
  kind: "F" | "W",
  measure: () => Promise<number>,
): Promise<Figure[]> {
  const values: number[] = [];
  for (let n = -5; n < TRIGGERS; n++) {
    const value = await measure();
    if (n >= 0) values.push(value);
    await system.drained();
    await delay(PAUSE_MS);
  }
  return [
    figureOf({ id: "B6.p50", kind, unit: "ms", runs: [percentile(values, 50)], target: { atMost: 5 } }),
    figureOf({ id: "B6.p99", kind, unit: "ms", runs: [percentile(values, 99)], target: { atMost: 15 } }),
  ];
}
