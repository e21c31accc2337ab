import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

/** Each plant is one file with one fault; the linter must refuse it by the named rule. */
const ROOT = path.resolve(import.meta.dirname, "../..");
const PRELUDE = "declare function work(): Promise<number>;\ndeclare function each(f: () => void): void;\n";

const PLANTS: [file: string, rule: string, source: string][] = [
  ["lib/engine/a-call.ts", "no-floating-promises", "export function f(): void { work(); }"],
  ["lib/engine/a-then.ts", "no-floating-promises", "export function f(): void { work().then((n) => n + 1); }"],
  ["lib/engine/a-finally.ts", "no-floating-promises", "export function f(): void { work().finally(() => undefined); }"],
  ["lib/engine/an-all.ts", "no-floating-promises", "export function f(): void { Promise.all([work(), work()]); }"],
  ["lib/engine/an-array.ts", "no-floating-promises", "export function f(): void { [1, 2].map(() => work()); }"],
  ["lib/engine/a-ternary.ts", "no-floating-promises", "export function f(b: boolean): void { b ? work() : work(); }"],
  ["lib/engine/an-and.ts", "no-floating-promises", "export function f(b: boolean): void { b && work(); }"],
  ["lib/engine/an-iife.ts", "no-floating-promises", "export function f(): void { (async () => { await work(); })(); }"],
  [
    "lib/engine/a-method.ts",
    "no-floating-promises",
    "export function f(store: { save(): Promise<void> }): void { store.save(); }",
  ],
  [
    "lib/engine/a-loop.ts",
    "no-floating-promises",
    "export function f(all: number[]): void { for (const n of all) if (n > 1) work(); }",
  ],
  ["worker/misused.ts", "no-misused-promises", "export function f(): void { each(async () => { await work(); }); }"],
  ["worker/misused-if.ts", "no-misused-promises", "export function f(): number { if (work()) return 1; return 2; }"],
  [
    "worker/thenable.ts",
    "await-thenable",
    "export async function f(): Promise<number> { await work(); return await 1; }",
  ],
  [
    "lib/domain/a-switch.ts",
    "switch-exhaustiveness-check",
    `export function f(s: "a" | "b"): number { switch (s) { case "a": return 1; } return 2; }`,
  ],
  ["lib/api/any.ts", "no-explicit-any", "export function f(x: any): void { String(x); }"],
  ["lib/api/unsafe.ts", "no-unsafe-member-access", `export function f(): unknown { return JSON.parse("{}").a; }`],
  ["lib/domain/now.ts", "no-restricted-properties", "export const f = (): number => Date.now();"],
  ["lib/domain/random.ts", "no-restricted-properties", "export const f = (): number => Math.random();"],
  ["lib/engine/id.ts", "no-restricted-properties", "export const f = (): string => crypto.randomUUID();"],
  [
    "lib/engine/import-id.ts",
    "no-restricted-imports",
    `import { randomUUID } from "node:crypto";\nexport const f = (): string => randomUUID();`,
  ],
  [
    "lib/engine/timer.ts",
    "no-restricted-globals",
    "export function f(done: () => void): void { setTimeout(done, 1); }",
  ],
  ["lib/api/env.ts", "no-restricted-properties", "export const f = (): string | undefined => process.env.HOME;"],
  [
    "lib/db/raw.ts",
    "no-restricted-properties",
    "export const f = (p: { $queryRawUnsafe(q: string): number }): number => p.$queryRawUnsafe(`x`);",
  ],
  [
    "lib/api/long.ts",
    "max-lines",
    "export const f = 1;\n".replace("f", "f0") +
      Array.from({ length: 400 }, (_, i) => `export const g${i} = ${i};`).join("\n"),
  ],
  [
    "lib/api/complex.ts",
    "complexity",
    `export function f(n: number): number {\n${Array.from({ length: 12 }, (_, i) => `if (n === ${i}) return ${i + 1};`).join("\n")}\nreturn 0; }`,
  ],
  [
    "lib/api/deep.ts",
    "max-depth",
    "export function f(n: number): number { if (n > 1) { if (n > 2) { if (n > 3) { if (n > 4) { if (n > 5) { return 1; } } } } } return 0; }",
  ],
  ["lib/api/circle.ts", "no-cycle", `import { b } from "./circle-b.ts";\nexport const a = (): unknown => b;`],
];

const ACCEPTED: [file: string, source: string][] = [
  ["lib/engine/good.ts", "export async function f(): Promise<number> { return (await work()) + 1; }"],
  ["lib/engine/explicit.ts", "export function f(): void { void work(); }"],
  ["lib/env.ts", "export const f = (): string | undefined => process.env.HOME;"],
  ["worker/time.ts", "export const f = (): number => Date.now();"],
];

type Report = { diagnostics: { code: string; filename: string; severity: string }[] };

let folder = "";
let report: Report = { diagnostics: [] };

beforeAll(() => {
  folder = realpathSync(mkdtempSync(path.join(os.tmpdir(), "sluice-lint-")));
  for (const file of [".oxlintrc.json", "tsconfig.json"]) cpSync(path.join(ROOT, file), path.join(folder, file));
  const files = [...PLANTS.map(([file, , source]) => [file, source] as const), ...ACCEPTED];
  for (const [file, source] of files) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), `${/\b(work|each)\(/.test(source) ? PRELUDE : ""}${source}\n`);
  }
  writeFileSync(
    path.join(folder, "lib/api/circle-b.ts"),
    `import { a } from "./circle.ts";\nexport const b = (): unknown => a;\n`,
  );
  symlinkSync(path.join(ROOT, "node_modules"), path.join(folder, "node_modules"), "dir");
  const bin = path.join(ROOT, "node_modules/.bin/oxlint");
  // The folders are named: left alone it would walk through the link into every package.
  const run = spawnSync(bin, ["--type-aware", "-f", "json", "lib", "worker"], { cwd: folder, encoding: "utf8" });
  report = JSON.parse(run.stdout) as Report;
}, 60_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const found = (file: string) => report.diagnostics.filter((one) => one.filename === file);

test.for(PLANTS)("%s is refused by %s", ([file, rule]) => {
  expect(found(file).map((one) => one.code)).toContainEqual(expect.stringContaining(`(${rule})`));
  expect(found(file).every((one) => one.severity === "error")).toBe(true);
});

test.for(ACCEPTED)("%s is accepted", ([file]) => {
  expect(found(file)).toEqual([]);
});

test("warnings do not exist: every rule is an error or off", () => {
  const bin = path.join(ROOT, "node_modules/.bin/oxlint");
  const config = JSON.parse(execFileSync(bin, ["--print-config"], { cwd: ROOT, encoding: "utf8" })) as {
    rules: Record<string, string | [string]>;
  };
  const levels = Object.values(config.rules).map((level) => (typeof level === "string" ? level : level[0]));
  expect(new Set(levels.filter((level) => /warn/.test(level)))).toEqual(new Set());
});
