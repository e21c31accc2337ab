import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { checkRooms } from "./rooms.ts";

const trees: string[] = [];
afterAll(() => trees.forEach((tree) => rmSync(tree, { recursive: true })));

function rulesFor(files: Record<string, string>): string[] {
  const root = mkdtempSync(path.join(os.tmpdir(), "sluice-rooms-"));
  trees.push(root);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  }
  return checkRooms(root).map((violation) => violation.rule);
}

/** A file of each room, and the module it exports. */
const MODULES: Record<string, string> = {
  "app/page.tsx": "export const a = 1;",
  "components/list.tsx": "export const a = 1;",
  "lib/domain/ids.ts": "export const a = 1; export type T = 1;",
  "lib/dsl/index.ts": "export const a = 1;",
  "lib/contract/index.ts": "export const a = 1; export type T = 1;",
  "lib/db/runs.ts": "export const a = 1; export type T = 1;",
  "lib/db/run-reads.ts": "export const a = 1;",
  "lib/queue/boss.ts": "export const a = 1;",
  "lib/engine/claim.ts": "export const a = 1;",
  "lib/executors/bash.ts": "export const a = 1;",
  "lib/auth/session.ts": "export const a = 1;",
  "lib/api/dags.ts": "export const a = 1;",
  "lib/obs/log.ts": "export const a = 1; export type T = 1;",
  "lib/env.ts": "export const a = 1;",
  "lib/embedded/start.ts": "export const a = 1;",
  "lib/boot.ts": "export const a = 1; export type T = 1;",
  "lib/testing/help.ts": "export const a = 1;",
  "worker/main.ts": "export const a = 1;",
  "cli/main.ts": "export const a = 1;",
};

const value = (target: string) => `import { a } from "#x"; export const plant = a;`.replace("#x", target);
const own = (target: string) => value(/^(lib|worker|components)\//.test(target) ? `#${target}` : `../../${target}`);

const REFUSED: [from: string, source: string, why: RegExp][] = [
  ["app/x/page.tsx", own("lib/engine/claim.ts"), /types of engine/],
  ["app/x/page.tsx", own("lib/db/runs.ts"), /types of db/],
  ["app/x/page.tsx", own("worker/main.ts"), /app may not import worker/],
  ["components/x/y.tsx", own("lib/db/run-reads.ts"), /components may not import db-reads/],
  ["components/x/y.tsx", own("app/page.tsx"), /components may not import app/],
  ["components/x/y.tsx", own("lib/api/dags.ts"), /components may not import api/],
  ["lib/domain/x.ts", own("lib/db/runs.ts"), /domain may not import db/],
  ["lib/domain/x.ts", value("node:fs"), /domain may not import the package node:fs/],
  ["lib/dsl/x.ts", own("lib/engine/claim.ts"), /dsl may not import engine/],
  ["lib/contract/x.ts", own("lib/engine/claim.ts"), /contract may not import engine/],
  ["lib/db/x.ts", own("lib/engine/claim.ts"), /db may not import engine/],
  ["lib/db/x.ts", own("lib/contract/index.ts"), /only types of contract/],
  ["lib/queue/x.ts", own("lib/engine/claim.ts"), /queue may not import engine/],
  ["lib/engine/x.ts", own("lib/api/dags.ts"), /engine may not import api/],
  ["lib/engine/x.ts", own("lib/env.ts"), /engine may not import env/],
  ["lib/executors/x.ts", own("lib/db/runs.ts"), /executors may not import db/],
  ["lib/auth/x.ts", own("lib/engine/claim.ts"), /auth may not import engine/],
  ["lib/api/x.ts", own("lib/queue/boss.ts"), /api may not import queue/],
  ["lib/api/x.ts", own("lib/env.ts"), /api may not import env/],
  ["lib/obs/x.ts", own("lib/env.ts"), /obs may import only types of env/],
  ["lib/env.ts", own("lib/obs/log.ts"), /env may not import obs/],
  ["lib/embedded/x.ts", own("lib/obs/log.ts"), /embedded may not import obs/],
  ["lib/boot.ts", own("components/list.tsx"), /boot may not import components/],
  ["worker/x/y.ts", own("lib/api/dags.ts"), /worker may not import api/],
  ["worker/x/y.ts", own("app/page.tsx"), /worker may not import app/],
  ["cli/x/y.ts", own("components/list.tsx"), /cli may not import components/],
  ["lib/engine/x.ts", own("lib/testing/help.ts"), /engine may not import tests/],
  ["worker/x/y.ts", own("lib/testing/help.ts"), /worker may not import tests/],
  ["lib/engine/x.ts", value("pg-boss"), /only queue/],
  ["lib/engine/x.ts", value("pg"), /only db/],
  ["lib/engine/x.ts", value("@prisma/client"), /only db/],
  ["lib/engine/x.ts", `export const p = import("pg");`, /only db/],
  ["lib/engine/x.ts", `export { a } from "pg-boss";`, /only queue/],
  ["lib/api/x.ts", value("next-auth"), /only auth/],
  ["worker/x/y.ts", value("react"), /only app/],
  ["lib/engine/x.ts", value("next/server"), /only app/],
];

describe("a forbidden import is refused", () => {
  test.for(REFUSED)("%s: %s", ([from, source, why]) => {
    const rules = rulesFor({ ...MODULES, [from]: source });
    expect(rules).toHaveLength(1);
    expect(rules[0]).toMatch(why);
  });
});

const ALLOWED: [from: string, source: string][] = [
  ["app/x/page.tsx", own("lib/db/run-reads.ts")],
  ["app/x/page.tsx", own("components/list.tsx")],
  ["components/x/y.tsx", own("lib/domain/ids.ts")],
  ["lib/domain/x.ts", value("zod")],
  ["lib/db/x.ts", value("pg")],
  ["lib/executors/x.ts", value("pg")],
  ["lib/db/x.ts", `import type { T } from "#lib/contract/index.ts"; export type U = T;`],
  ["lib/engine/x.ts", `import type { T } from "pg"; export type U = T;`],
  ["lib/engine/x.ts", own("lib/queue/boss.ts")],
  ["lib/queue/x.ts", value("pg-boss")],
  ["lib/api/x.ts", own("lib/boot.ts")],
  ["components/x/y.tsx", value("next-auth/react")],
  ["worker/x/y.ts", own("lib/engine/claim.ts")],
  ["cli/x/y.ts", own("worker/main.ts")],
  ["lib/engine/x.test.ts", own("lib/testing/help.ts")],
];

describe("an allowed import is accepted", () => {
  test.for(ALLOWED)("%s: %s", ([from, source]) => {
    expect(rulesFor({ ...MODULES, [from]: source })).toEqual([]);
  });
});

test("a circle is refused, a circle of types is not", () => {
  const circle = { "lib/domain/a.ts": own("lib/domain/b.ts"), "lib/domain/b.ts": own("lib/domain/a.ts") };
  expect(rulesFor(circle)).toEqual(["circle: lib/domain/a.ts → lib/domain/b.ts → lib/domain/a.ts"]);
  const types = `import type { plant } from "./a.ts"; export type P = typeof plant;`;
  expect(rulesFor({ ...circle, "lib/domain/b.ts": types })).toEqual([]);
});

test("a file outside every room is refused", () => {
  expect(rulesFor({ "lib/misc.ts": "export const a = 1;" })).toEqual([expect.stringMatching(/no room owns/)]);
});

test("our own tree keeps the rules", () => {
  expect(checkRooms(path.resolve(import.meta.dirname, "../.."))).toEqual([]);
});
