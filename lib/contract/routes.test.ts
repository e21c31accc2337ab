import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { operations } from "./index.ts";
import type { Operation } from "./op.ts";

const ROOT = fileURLToPath(new URL("../../app/api/v1/", import.meta.url));
const all: Operation[] = Object.values(operations);
const fileOf = (path: string): string => `${path.slice(1).replaceAll("{", "[").replaceAll("}", "]")}/route.ts`;

test("every path of the contract has its route file, and every route file its path", () => {
  const files = globSync("**/route.ts", { cwd: ROOT }).filter((file) => !file.startsWith("[[...rest]]"));
  expect(files.toSorted()).toEqual([...new Set(all.map(({ path }) => fileOf(path)))].toSorted());
});

test.each(all.map((operation) => [`${operation.method} ${operation.path}`, operation] as const))(
  "%s: the route file serves this path, parameters match, errors are declared",
  (_, operation) => {
    expect(readFileSync(ROOT + fileOf(operation.path), "utf8")).toContain(`routes("${operation.path}")`);
    const named = [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    expect(Object.keys(operation.params?.shape ?? {})).toEqual(named);
    if (operation.access !== "open") expect(operation.errors).toContain("unauthenticated");
    if (named.length > 0) expect(operation.errors.some((error) => error.endsWith("_not_found"))).toBe(true);
    if (operation.method !== "GET") expect(operation.access).toBe("operator");
  },
);
