/** The DAGs that are measured, as definition files. */

type Body = "noop" | "fibo" | "process" | { command: string; queue?: string };
const BODIES = { noop: "noop()", fibo: "fn(() => fibo(10))", process: 'bash("true")' };
const textOf = (body: Body): string =>
  typeof body === "string" ? BODIES[body] : `bash({ command: ${JSON.stringify(body.command)} })`;
const optionsOf = (body: Body): string =>
  typeof body === "object" && body.queue !== undefined ? `{ queue: ${JSON.stringify(body.queue)} }, ` : "";
const HEAD = `import { dag, bash, fn, http, noop } from "sluice";
function fibo(n: number): number { return n < 2 ? n : fibo(n - 1) + fibo(n - 2); }
const LIMITS = { limits: { maxActiveRuns: 100_000 } };
`;

const file = (id: string, text: string): string =>
  `${HEAD}let d: any = dag(${JSON.stringify(id)}, LIMITS);\n${text}\nexport default d;\n`;

export const chain = (id: string, length: number, body: Body = "noop"): string =>
  file(
    id,
    `for (let n = 0; n < ${length}; n++)
  d = n === 0 ? d.task("t0", ${textOf(body)}) : d.task("t" + n, { dependsOn: ["t" + (n - 1)] }, ${textOf(body)});`,
  );

/** 1 → width → 1. */
export const fan = (id: string, width: number, body: Body = "noop"): string =>
  file(
    id,
    `d = d.task("first", ${textOf(body)});
const middle = Array.from({ length: ${width} }, (_, n) => "m" + n);
for (const m of middle) d = d.task(m, { dependsOn: ["first"] }, ${textOf(body)});
d = d.task("last", { dependsOn: middle }, noop());`,
  );

/** `layers` of `width` tasks, each of which waits for all of the layer before. */
export const layers = (id: string, count: number, width: number): string =>
  file(
    id,
    `let before: string[] = [];
for (let l = 0; l < ${count}; l++) {
  const now = Array.from({ length: ${width} }, (_, n) => "l" + l + "_" + n);
  for (const t of now) d = d.task(t, { dependsOn: before }, noop());
  before = now;
}`,
  );

export const independent = (id: string, count: number, body: Body = "noop"): string =>
  file(id, `for (let n = 0; n < ${count}; n++) d = d.task("t" + n, ${optionsOf(body)}${textOf(body)});`);

/** Each task waits for up to three earlier ones, drawn by a generator with a fixed seed. */
export const random = (id: string, count: number): string =>
  file(
    id,
    `let seed = 42;
const next = (n: number) => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % n; };
for (let n = 0; n < ${count}; n++) {
  const parents = new Set(Array.from({ length: n === 0 ? 0 : next(4) }, () => "t" + Math.max(0, n - 1 - next(Math.min(n, 500)))));
  d = d.task("t" + n, { dependsOn: [...parents] }, noop());
}`,
  );

export const single = (id: string, task: string): string => file(id, `d = d.task("only", ${task});`);

/** Nothing listens there. */
const FAILS = 'http({ url: "http://127.0.0.1:1/" })';

/** A root that fails inside the worker, and `count` tasks that wait for it. */
export const below = (id: string, count: number): string =>
  file(
    id,
    `d = d.task("root", ${FAILS});
for (let n = 0; n < ${count}; n++) d = d.task("t" + n, { dependsOn: ["root"] }, noop());`,
  );

/** `count` parents of a join that looks at more than successes, beside one that ends before them, well or not. */
export const join = (id: string, count: number, fails: boolean): string =>
  file(
    id,
    `d = d.task("first", ${fails ? FAILS : "noop()"}).task("gate", { dependsOn: ["first"], triggerRule: "all_done" }, noop());
const parents = Array.from({ length: ${count} }, (_, n) => "p" + n);
for (const p of parents) d = d.task(p, { dependsOn: ["gate"] }, noop());
d = d.task("join", { dependsOn: ["first", ...parents], triggerRule: "all_done" }, noop());`,
  );
