import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { describePlugins, type Described } from "./describe.ts";

const CLI = path.resolve(import.meta.dirname, "../../cli/sluice.mjs");

/** A schema of no library: plugins need none. */
const SCHEMA = `{ "~standard": { version: 1, vendor: "own", validate: (value) =>
  typeof value.to === "string" ? { value: { ...value, at: new Date(0) } } : { issues: [{ message: "must be a text", path: ["to"] }] } } }`;

const plugin = (type: string, more = ""): string => `import { defineExecutor } from "sluice";
${more}
export const made = defineExecutor({
  type: "${type}", displayName: "Made", about: "Made here.", config: ${SCHEMA}, shorthand: "to",
  run: async (task, config) => ({ kind: "success", output: { sent: config.to, at: config.at.toISOString() } }),
});
export default made;
`;

let base: string;
beforeAll(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), "sluice-plugins-"));
  await write("good.ts", plugin("acme-mail"));
  await write("same.ts", plugin("acme-mail"));
  await write("node_modules/acme-plugins/package.json", '{"type":"module","exports":{".":{"import":"./index.js"}}}');
  await write("node_modules/acme-plugins/index.js", plugin("acme-fax"));
});
afterAll(() => rm(base, { recursive: true, force: true }));

async function write(file: string, text: string): Promise<string> {
  const at = path.join(base, file);
  await mkdir(path.dirname(at), { recursive: true });
  await writeFile(at, text);
  return at;
}

const at = (file: string): string => path.join(base, file);
const describeAll = (...locations: string[]): Promise<Described> => describePlugins({ locations, base });

async function problemsOf(...locations: string[]): Promise<string[]> {
  const described = await describeAll(...locations);
  return described.ok ? [] : described.problems;
}

async function sluice(
  args: string[],
  env: Record<string, string>,
): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [CLI, ...args],
      { cwd: base, env: { ...plainEnv(), ...env }, timeout: 60_000 },
      (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err }),
    );
  });
}

test("plugins are files and packages, and none of their code is needed to know their types", async () => {
  expect(await describeAll(at("good.ts"), "acme-plugins")).toMatchObject({
    ok: true,
    plugins: {
      types: [
        { type: "acme-mail", displayName: "Made", icon: "puzzle", slotClass: "inline", shorthand: "to", visible: [] },
        { type: "acme-fax" },
      ],
    },
  });
  expect(await describeAll()).toMatchObject({ ok: true, plugins: { types: [] } });
});

describe("a plugin that cannot be used is told with the setting that names it and the reason:", () => {
  test.each<[string, string, RegExp]>([
    [
      "throws.ts",
      'const a: number = 1;\nthrow new TypeError("boom");',
      /throws.ts cannot be used: TypeError: boom \(line 2:7\)$/,
    ],
    ["syntax.ts", "export const = 1;", /syntax.ts cannot be used: SyntaxError: /],
    ["imports.ts", 'import "./not-there.ts";', /imports.ts cannot be used: Error: Cannot find module '.*not-there.ts'/],
    [
      "empty.ts",
      "export const a = 1, b = 2;",
      /it exports no executor, which defineExecutor\(\{ … \}\) makes; it exports a, b$/,
    ],
    ["built-in.ts", plugin("bash"), /type: "bash" is a built-in type; give it a name of its own, like "acme-bash"$/],
    ["shape.ts", plugin("x").replace("about:", "abuot:"), /about: Invalid input/],
    ["exits.ts", "process.exit(3);", /the plugin ended the process that evaluates it \(exit code 3\)$/],
    ["waits.ts", "await new Promise(() => {});", /it was not imported within 8 s: its top level waits for something$/],
    ["loops.ts", "for (;;);", /the plugin was not evaluated within 10 s$/],
  ])("%s", async (file, text, message) => {
    const problems = await problemsOf(await write(file, text), at("good.ts"));
    expect(problems[0]).toMatch(/^SLUICE_PLUGINS: \/.* cannot be used: /);
    expect(problems[0]).toMatch(message);
  });

  test("one that is not there, one whose type is taken", async () => {
    expect(await problemsOf(at("nope.ts"), "nope")).toEqual([
      `SLUICE_PLUGINS: ${at("nope.ts")} cannot be used: there is no such file`,
      "SLUICE_PLUGINS: nope cannot be used: no package of that name is installed where Sluice was started; a file begins with ./ or /",
    ]);
    expect(await problemsOf(at("good.ts"), "acme-plugins", at("same.ts"))).toEqual([
      `SLUICE_PLUGINS: ${at("same.ts")} cannot be used: its type "acme-mail" is also that of ${at("good.ts")}`,
    ]);
  });
});

test("no process starts with a plugin missing, and each says so in the same words", async () => {
  const env = { DATABASE_URL: "postgres://nobody@127.0.0.1:1/none", SLUICE_PLUGINS: "./good.ts,./same.ts,./nope.ts" };
  const told = [
    `sluice: SLUICE_PLUGINS: ${at("nope.ts")} cannot be used: there is no such file`,
    `sluice: SLUICE_PLUGINS: ${at("same.ts")} cannot be used: its type "acme-mail" is also that of ${at("good.ts")}`,
    "",
  ];
  for (const command of ["worker", "scheduler", "start"]) {
    const { code, out, err } = await sluice([command], { ...env, SLUICE_HOME: at("home") });
    expect({ command, code, out, lines: err.split("\n").toSorted() }).toEqual({
      command,
      code: 1,
      out: "",
      lines: told.toSorted(),
    });
  }
  await mkdir(at("dags"), { recursive: true });
  expect(await sluice(["dags", "validate"], env)).toMatchObject({ code: 2, out: "" });
});

test("a plugin that ends the worker while it is imported is named", async () => {
  await write("exits.ts", "process.exit(3);");
  const { code, err } = await sluice(["worker"], { DATABASE_URL: "postgres://h/d", SLUICE_PLUGINS: "./exits.ts" });
  expect(code).toBe(3);
  expect(err).toBe(
    `sluice: SLUICE_PLUGINS: ${at("exits.ts")} cannot be used: the process ended while it was imported\n`,
  );
});

describe("with plugins,", () => {
  const env = { SLUICE_PLUGINS: "good.ts,acme-plugins" };

  test("definitions are checked by their schemas, with the place and the nearest name", async () => {
    await write(
      "dags/wrong.yaml",
      "id: wrong\ntasks:\n  - id: a\n    acme-mail: { to: 5 }\n  - id: b\n    acme-fix: x\n",
    );
    await write(
      "dags/wrong-too.ts",
      'import { dag } from "sluice";\nimport { made } from "../good.ts";\nexport default dag("wrong-too").task("a", made({ to: 5 }));\n',
    );
    const { code, err } = await sluice(["dags", "validate", "dags/wrong.yaml", "dags/wrong-too.ts"], env);
    expect(code).toBe(1);
    expect(err).toContain('dags/wrong.yaml:4:22: error: task "a": acme-mail.to: must be a text');
    expect(err).toContain('dags/wrong.yaml:6:5: error: task "b": unknown key "acme-fix"; did you mean "acme-fax"?');
    expect(err).toContain('task "a": acme-mail.to: must be a text');
    const without = await sluice(["dags", "validate", "dags/wrong-too.ts"], {});
    expect(without.err).toContain(
      'task "a": its type "acme-mail" is a plugin\'s, and SLUICE_PLUGINS does not name the plugin',
    );
  });

  test("a DAG runs from its file, its functions beside tasks of plugins that it imports from outside its folder", async () => {
    await write(
      "dags/both.ts",
      `import { dag, fn } from "sluice";
import { made } from "../good.ts";
import fax from "acme-plugins";
export default dag("both")
  .task("who", fn(() => ({ name: "ops" })))
  .task("tell", { dependsOn: ["who"] }, made({ to: "\${{ outputs.who.name }}" }))
  .task("again", { dependsOn: ["tell"] }, fax("\${{ outputs.tell.sent }}"))
  .task("end", { dependsOn: ["again"] }, fn(({ outputs }) => [outputs.again.sent, outputs.again.at]));
`,
    );
    const { code, out, err } = await sluice(["dags", "test", "dags/both.ts", "--json"], env);
    expect({ code, err: code === 0 ? "" : err }).toEqual({ code: 0, err: "" });
    const { tasks } = JSON.parse(out) as { tasks: { id: string; output: unknown }[] };
    expect(tasks.find(({ id }) => id === "end")?.output).toEqual(["ops", "1970-01-01T00:00:00.000Z"]);
  });
});
