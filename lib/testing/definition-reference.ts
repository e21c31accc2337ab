import { definitionJsonSchema } from "../domain/definition/json-schema.ts";
import { FUNCTIONS } from "../domain/expressions/functions.ts";
import { MEMBERS, ROOTS } from "../domain/expressions/environment.ts";
import { TASK_TYPE_NAMES, TASK_TYPES } from "../domain/model/task-types.ts";

/** Every field of a definition file, made from the schema by which files are checked. */

type Node = {
  type?: string | string[];
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Node>;
  items?: Node;
  additionalProperties?: Node | boolean;
  anyOf?: Node[];
  oneOf?: Node[];
  $ref?: string;
  required?: string[];
};

export function definitionReference(): string {
  const dag = definitionJsonSchema() as Node;
  const { tasks, defaults, ...fields } = dag.properties!;
  return `# Definition reference

Every key of a definition file, made from the schema by which files are checked. The same names are the options of the
[TypeScript builder](typescript.md). \`GET /api/v1/schemas/dag\` serves the schema to editors.

## A DAG

${table(fields, dag.required)}
| \`defaults\` | mapping | | ${defaults!.description ?? ""} Any of the options of a task below except \`id\`, \`dependsOn\` and the executor. \`env\` adds up. |
| \`tasks\` | list | required | The tasks, one after another. |

## A task

A task has exactly one executor: ${code(TASK_TYPE_NAMES.slice(0, -1))} or ${code(TASK_TYPE_NAMES.slice(-1))}. Its key holds its config, or the text that is all of it.

${table(tasks!.items!.properties!, tasks!.items!.required)}

## Expressions

\`\${{ … }}\` in a text of \`env\`, \`http\`, \`args\` and so on is a [CEL](https://cel.dev) expression. A text that is nothing but one
expression keeps the type of its value; \`$\${{\` stands for the characters themselves. Program text (\`bash\`, \`python\`, \`sql.query\`) takes
none: a value pasted into a program would be code. Put it into \`env\` and read the variable, or into \`params\` of a query.

| name | what it is |
|---|---|
${Object.entries(ROOTS)
  .map(([name, about]) => `| \`${name}\` | ${about} |`)
  .join("\n")}

\`run\` has ${code(MEMBERS.run)}; \`task\` has ${code(MEMBERS.task)}. Beside CEL's own functions there are:

| function | what it gives |
|---|---|
${FUNCTIONS.map(({ signature, about }) => `| \`${signature}\` | ${about} |`).join("\n")}

Whole numbers are CEL integers (\`5 / 2\` is \`2\`), others doubles; \`int\` and \`double\` may be mixed in arithmetic. \`has(outputs.a.b)\`
asks whether something is there. Loops (\`map\`, \`filter\`, \`all\`, \`exists\`, \`exists_one\`) cannot stand inside one another, and
\`matches\` is not available. The expressions of one task may take ten million steps together (a value that is looked at, eight characters
of a text, and eight steps for a list or a mapping that is made and for each entry of a mapping); beyond that the task fails and says which
expression it was. A value has at most 1,048,576 characters, as text or as JSON.

A secret is written with its name (\`secrets.WAREHOUSE_URL\`; A-Z, a-z, 0-9 and _). None may be used in a \`condition\` or in
${code(visibleMembers())}, which other users of the machine can read. See [secrets](yaml.md#secrets).

Names that do not exist are found when the file is loaded, but for those of secrets. What fails only in a run ends the task as
failed with the reason \`EXPRESSION\`, without a retry; a secret that is missing does so with \`SECRET_MISSING\`.
`;
}

/** Members of configs that take expressions and no secrets. */
function visibleMembers(): string[] {
  return Object.entries(TASK_TYPES).flatMap(([type, { visible }]) =>
    visible.map((member: string) => `${type}.${member}`),
  );
}

const code = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(", ");

function table(fields: Record<string, Node>, required: readonly string[] = []): string {
  const rows = Object.entries(fields).flatMap(([name, node]) => rowsOf(name, node, required.includes(name)));
  return ["| key | type | default | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

function rowsOf(name: string, node: Node, isRequired: boolean): string[] {
  const objects = branches(node).filter((branch) => branch.properties !== undefined);
  const about =
    node.description ?? branches(node).find((branch) => branch.description !== undefined)?.description ?? "";
  const value = isRequired ? "required" : isPlain(node.default) ? `\`${JSON.stringify(node.default)}\`` : "";
  const row = `| \`${name}\` | ${typeOf(node)} | ${value} | ${about.replaceAll("|", "\\|")} |`;
  const below = objects.flatMap((object) =>
    Object.entries(object.properties!).flatMap(([key, member]) =>
      rowsOf(`${name}.${key}`, member, object.required?.includes(key) ?? false),
    ),
  );
  // Forms that differ in some keys share the others.
  return [...new Set([row, ...below])];
}

/** A default that is worth printing: an empty list or mapping says nothing. */
function isPlain(value: unknown): boolean {
  return value !== undefined && (typeof value !== "object" || value === null);
}

function branches(node: Node): Node[] {
  return [node, ...(node.anyOf ?? node.oneOf ?? []).flatMap(branches)];
}

function typeOf(node: Node): string {
  const given = node.anyOf ?? node.oneOf;
  if (given !== undefined) return [...new Set(given.map(typeOf))].filter((type) => type !== "nothing").join(" or ");
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (node.type === "array") return `list of ${node.items === undefined ? "values" : typeOf(node.items)}`;
  const names: Record<string, string> = {
    string: "text",
    integer: "whole number",
    number: "number",
    object: "mapping",
    null: "nothing",
  };
  if (typeof node.type === "string") return names[node.type] ?? node.type;
  return "any JSON";
}
