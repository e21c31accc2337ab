import fc from "fast-check";
import { expect, test } from "vitest";
import { parseDefinition } from "./parse.ts";

const GOOD = `id: good
schedule: "0 9 * * *"
timezone: Europe/Berlin
params: { limit: { type: integer, default: 10 } }
defaults: { retries: 2 }
tasks:
  - id: a
    bash: |
      echo "[[ hello ]]" && true
    env: { N: "\${{ params.limit }}" }
  - id: b
    dependsOn: [a]
    http: { url: https://example.org, json: { a: [1, 2, { b: null }] } }
    retries: { max: 3, delay: 5s, retryOn: { httpStatuses: [503] } }
  - id: c
    dependsOn: [a, b]
    triggerRule: all_done
    fn: ./f.ts#go
`;

const SPLINTERS = [
  "[",
  "{",
  "]",
  "}",
  ":",
  ": ",
  "- ",
  "\n",
  "\t",
  "&a ",
  "*a",
  "!x ",
  "---\n",
  "<<: *a\n",
  '"',
  "'",
  "|",
  ">",
  "#",
  "%",
  "@",
  "\0",
  "\u2028",
  "\ufeff",
  "\ud800",
  "id: z\n",
  "tasks:\n",
  "__proto__: 1\n",
  "constructor: {}\n",
  "? ",
  "-1",
  "1e999",
  ".nan",
  "~",
  "${{",
  "}}",
  "${{ x",
  "  ".repeat(40),
  "- ".repeat(100),
  "[".repeat(500),
  "{a: ".repeat(200),
  "a".repeat(2_000),
  "key: &a [*a, *a]\n",
  "é",
  "🙂",
];

type Cut = { at: number; drop: number; splinter: string };
const cuts = fc.array(fc.record({ at: fc.nat(1_000), drop: fc.nat(30), splinter: fc.constantFrom("", ...SPLINTERS) }), {
  minLength: 1,
  maxLength: 4,
});

function damage(text: string, list: readonly Cut[]): string {
  return list.reduce((result, { at, drop, splinter }) => {
    const from = at % (result.length + 1);
    return result.slice(0, from) + splinter + result.slice(from + drop);
  }, text);
}

test("the undamaged file is good", () => {
  expect(parseDefinition(GOOD, "good.yaml").ok).toBe(true);
});

test("ten thousand damaged files give problems with a place, quickly, or a spec; never anything else", () => {
  let slowest = 0;
  let bad = 0;
  fc.assert(
    fc.property(cuts, (list) => {
      const text = damage(GOOD, list);
      const before = process.cpuUsage();
      const result = parseDefinition(text, "bad.yaml");
      slowest = Math.max(slowest, process.cpuUsage(before).user / 1_000);
      if (result.ok) return;
      bad++;
      expect(result.problems.length).toBeGreaterThan(0);
      const lines = text.split("\n").length;
      for (const problem of result.problems) {
        expect(problem.line >= 1 && problem.line <= lines && problem.column >= 1).toBe(true);
        expect(problem.message.length).toBeGreaterThan(0);
      }
    }),
    { numRuns: 10_000 },
  );
  expect(bad).toBeGreaterThan(5_000);
  expect(slowest).toBeLessThan(4_000);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
}, 300_000);

test.each([
  ["a hundred thousand brackets", "[".repeat(100_000)],
  ["a hundred thousand braces", `${"{a: ".repeat(100_000)}`],
  ["a hundred thousand dashes", "- ".repeat(100_000)],
  ["a thousand levels of keys", Array.from({ length: 1_000 }, (_, n) => `${" ".repeat(n)}a:`).join("\n")],
  [
    "an alias bomb",
    `a: &a [x,x,x,x,x,x,x,x,x]\n${Array.from({ length: 9 }, (_, n) => `${String.fromCharCode(98 + n)}: &${String.fromCharCode(98 + n)} [${Array.from({ length: 9 }, () => `*${String.fromCharCode(97 + n)}`).join(",")}]`).join("\n")}`,
  ],
  ["a million empty items", `tasks: [${",".repeat(1_000_000)}]`],
  ["five megabytes", "a".repeat(5_000_000)],
  ["ten thousand wrong tasks", `id: a\ntasks:\n${"  - { id: 5, bsh: x, retries: three }\n".repeat(10_000)}`],
  [
    "thirty thousand variables for each task",
    `id: a\ndefaults: { env: { ${Array.from({ length: 30_000 }, (_, n) => `K${n}: v`).join(", ")} } }\ntasks:\n${"  - { id: t, noop: {} }\n".repeat(10_000)}`,
  ],
  [
    "a long list of unknown parents",
    `id: a\ntasks:\n${Array.from({ length: 5_000 }, (_, n) => `  - { id: t${n}, dependsOn: [u${n}], noop: {} }`).join("\n")}`,
  ],
])("%s: refused in time", (_, text) => {
  // Time of the processor and not of the clock, and four times what a slow machine takes: what grows with the square of the text
  // takes minutes.
  const before = process.cpuUsage();
  const result = parseDefinition(text, "bad.yaml");
  expect(result.ok).toBe(false);
  expect(process.cpuUsage(before).user / 1_000).toBeLessThan(8_000);
});
