import { expect, test } from "vitest";
import { z } from "zod";
import { definitionJsonSchema } from "./json-schema.ts";

type Node = { [key: string]: unknown };

const schema = definitionJsonSchema() as Node;

function objects(node: unknown, path = "#"): { path: string; node: Node }[] {
  if (typeof node !== "object" || node === null) return [];
  const below = Object.entries(node).flatMap(([key, value]) => objects(value, `${path}/${key}`));
  return Array.isArray(node) ? below : [{ path, node: node as Node }, ...below];
}

test("describes every field of a DAG and of a task, so that an editor can say what it is", () => {
  const fields = (properties: unknown): [string, Node][] => Object.entries(properties as Record<string, Node>);
  const dag = fields(schema["properties"]);
  const tasks = (schema["properties"] as Record<string, { items: Node }>)["tasks"]!.items;
  const undescribed = [...dag, ...fields(tasks["properties"])].filter(([, field]) => !("description" in field));
  expect(undescribed.map(([name]) => name).filter((name) => name !== "tasks" && name !== "description")).toEqual([]);
});

test("says of every mapping which keys it takes", () => {
  const open = objects(schema).filter(
    ({ node }) =>
      "properties" in node && "type" in node && node["type"] === "object" && node["additionalProperties"] !== false,
  );
  expect(open.map(({ path }) => path)).toEqual([]);
});

test("is a schema by which the example of the README is good and a misspelt one is not", () => {
  const check = z.fromJSONSchema(schema);
  const good = {
    id: "a",
    schedule: "@daily",
    tasks: [
      { id: "x", bash: "true", retries: 3 },
      { id: "y", dependsOn: ["x"], noop: {} },
    ],
  };
  expect(check.safeParse(good).success).toBe(true);
  expect(check.safeParse({ ...good, shedule: "@daily" }).success).toBe(false);
  expect(check.safeParse({ ...good, tasks: [{ id: "x", bash: "true", retries: "three" }] }).success).toBe(false);
});
