/** Parses and validates a YAML definition of 10,000 tasks, once, in a fresh process. One JSON object a line. */
import { parseDefinition } from "#lib/domain/definition/parse.ts";

const TASKS = 10_000;

const text = `id: large\ntasks:\n${Array.from({ length: TASKS }, (_, n) => {
  const after = n === 0 ? "" : `    dependsOn: [task_${n - 1}]\n`;
  return `  - id: task_${n}\n${after}    bash: echo ${n}\n`;
}).join("")}`;

const before = process.memoryUsage().rss;
const started = performance.now();
const result = parseDefinition(text, "large.yaml");
const seconds = (performance.now() - started) / 1_000;
const megabytes = (process.memoryUsage().rss - before) / 1_000_000;
if (!result.ok) throw new Error(result.problems[0]!.message);

for (const [id, figure, unit, limit] of [
  ["parse-yaml-time", seconds, "s", 1],
  ["parse-yaml-memory", megabytes, "MB", 200],
] as const) {
  process.stdout.write(
    `${JSON.stringify({ id, figure: Number(figure.toFixed(2)), unit, limit, ok: figure <= limit })}\n`,
  );
}
