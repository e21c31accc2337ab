import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { describePlugins } from "#worker/plugins/describe.ts";
import { parseDefinition } from "../domain/definition/parse.ts";
import { ICON_NAMES } from "../domain/model/type-facts.ts";
import { definitionReference } from "./definition-reference.ts";
import { DOCUMENT, REFERENCE, refreshed, refreshedRules, RULES_PAGE } from "./docs.ts";

const ROOT = path.dirname(DOCUMENT);
const DOCUMENTS = ["ARCHITECTURE.md", "CONTRIBUTING.md", "DECISIONS.md", "CHANGELOG.md"];
const text = (file: string) => readFileSync(path.join(ROOT, file), "utf8");

test("the drawings and the rooms of ARCHITECTURE.md are those of the code (node lib/testing/docs.ts)", () => {
  expect(text("ARCHITECTURE.md")).toBe(refreshed(text("ARCHITECTURE.md")));
});

test("docs/reference.md is that of the schema (node lib/testing/docs.ts)", () => {
  expect(readFileSync(REFERENCE, "utf8")).toBe(definitionReference());
});

test("the table of docs/trigger-rules.md is what the rules decide (node lib/testing/docs.ts)", () => {
  const page = readFileSync(RULES_PAGE, "utf8");
  expect(page).toBe(refreshedRules(page));
});

test("docs/plugins.md shows the example as it is, and a DAG that is valid with it", async () => {
  const [example] = [...text("docs/plugins.md").matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]);
  expect(example).toBe(text("docs/plugins/chat.ts"));
  const described = await describePlugins({ locations: [path.join(ROOT, "docs/plugins/chat.ts")], base: ROOT });
  expect(described).toMatchObject({ ok: true, plugins: { types: [{ type: "chat" }] } });
  const [, shown] = /```yaml\n([\s\S]*?)```/.exec(text("docs/plugins.md"))!;
  const types = described.ok ? described.plugins.types : [];
  expect(parseDefinition(shown!, "docs/plugins.md", types)).toMatchObject({ ok: true });
  const { icon } = Object.fromEntries(
    [...text("docs/plugins.md").matchAll(/^\| `(\w+)` \| (.*) \|$/gm)].map((match) => [match[1], match[2]]),
  );
  for (const name of ICON_NAMES) expect(icon).toContain(`\`${name}\``);
});

test("the DAGs that the documents show are valid", () => {
  for (const file of ["docs/yaml.md", "docs/schedules.md", "docs/trigger-rules.md", "README.md"]) {
    const shown = [...text(file).matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1]!);
    expect(shown.length).toBeGreaterThan(0);
    for (const definition of shown) expect(parseDefinition(definition, file)).toMatchObject({ ok: true });
  }
});

test.for(DOCUMENTS)("every file that %s names exists", (document) => {
  const named = [...text(document).matchAll(/`((?:app|cli|components|dags|e2e|lib|prisma|worker|\.ci)\/[\w./-]+)`/g)];
  const missing = named.map((match) => match[1] ?? "").filter((file) => !existsSync(path.join(ROOT, file)));
  expect(missing).toEqual([]);
});

test("every npm script the documents name is in package.json", () => {
  const { scripts } = JSON.parse(text("package.json")) as { scripts: Record<string, string> };
  const named = DOCUMENTS.flatMap((file) => [...text(file).matchAll(/npm run ([a-z:]+)/g)].map((match) => match[1]));
  for (const name of named) expect(Object.keys(scripts)).toContain(name);
});

test("decisions are numbered in order and dated", () => {
  const heads = text("DECISIONS.md").match(/^## .*$/gm) ?? [];
  heads.forEach((head, index) =>
    expect(head).toMatch(new RegExp(`^## ${index + 1}\\. .+ \\(\\d{4}-\\d{2}-\\d{2}\\)$`)),
  );
  expect(heads.length).toBeGreaterThan(10);
});
