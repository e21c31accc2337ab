import { describe, expect, test } from "vitest";
import { z } from "zod";
import { compactSpec, DagSpec, slotClassOf, specHash, typeLooks } from "../model/dag.ts";
import type { PluginType } from "../model/plugin-type.ts";
import { definitionJsonSchema } from "./json-schema.ts";
import { parseDefinition } from "./parse.ts";
import { toYaml } from "./to-yaml.ts";

const mail: PluginType = {
  type: "acme-mail",
  displayName: "Mail",
  icon: "mail",
  about: "Sends a mail.",
  slotClass: "process",
  shorthand: "to",
  visible: ["subject"],
  config: z
    .strictObject({
      to: z.string().regex(/@/, "must be an address"),
      subject: z.string().optional(),
      copies: z.int().default(1),
      server: z.strictObject({ host: z.string(), port: z.int() }).optional(),
    })
    .refine(({ to, subject }) => to !== subject, "the subject is the address"),
};
const nap: PluginType = { ...mail, type: "nap", slotClass: "inline", shorthand: undefined, config: z.strictObject({}) };
const plugins = [mail, nap];

const file = (task: string): string => `id: a\ntasks:\n  - id: x\n    ${task}\n`;

function problems(task: string, known = plugins): string[] {
  const result = parseDefinition(file(task), "x.yaml", known);
  return result.ok ? [] : result.problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

function spec(task: string): DagSpec {
  const result = parseDefinition(file(task), "x.yaml", plugins);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.spec;
}

describe("a task of a plugin's type", () => {
  test("is kept as it is written, with what readers of the version must know of the type", () => {
    const made = spec("acme-mail: { to: ops@example.org }");
    expect(made.tasks[0]).toMatchObject({ type: "acme-mail", config: { to: "ops@example.org" } });
    expect(made.types).toEqual({ "acme-mail": { displayName: "Mail", icon: "mail", slotClass: "process" } });
    expect(slotClassOf(made.tasks[0]!, made)).toBe("process");
    expect(typeLooks(made)).toEqual({ "acme-mail": { displayName: "Mail", icon: "mail" } });
    const stored = JSON.parse(JSON.stringify(compactSpec(made))) as unknown;
    expect(DagSpec.parse(stored)).toEqual(made);
    expect(specHash(DagSpec.parse(stored))).toBe(specHash(made));
    expect(parseDefinition(toYaml(made), "y.yaml", plugins)).toEqual({ ok: true, spec: made });
    expect(toYaml(made)).not.toContain("slotClass");
  });

  test("may be a text for its shorthand, and nothing when nothing need be said", () => {
    expect(spec("acme-mail: ops@example.org").tasks[0]!.config).toEqual({ to: "ops@example.org" });
    expect(spec("nap:").tasks[0]!.config).toEqual({});
  });

  test("is checked by the plugin's schema, each mistake at its place", () => {
    expect(problems("acme-mail: { to: ops@example.org, copys: 2, server: { host: h, prot: 1 } }")).toEqual([
      '4:39 task "x": acme-mail: unknown key "copys"; did you mean "copies"?',
      '4:57 task "x": acme-mail.server.port: is missing (Invalid input: expected number, received undefined)',
      '4:68 task "x": acme-mail.server: unknown key "prot"; did you mean "port"?',
    ]);
    expect(problems("acme-mail: ops")).toEqual(['4:16 task "x": acme-mail.to: must be an address']);
    expect(problems("acme-mail: { to: a@b, subject: a@b }")).toEqual([
      '4:16 task "x": acme-mail: the subject is the address',
    ]);
    expect(problems("acme-mail: [a@b]")).toEqual([
      '4:16 task "x": acme-mail: expected a text or a mapping, found a list of 1',
    ]);
    const mute = { "~standard": { ...mail.config!["~standard"], jsonSchema: undefined } };
    expect(problems("acme-mail: { to: a@b, cc: x }", [{ ...mail, config: mute }])).toEqual([
      '4:27 task "x": acme-mail: unknown key "cc"',
    ]);
    expect(problems("nap: soon")).toEqual(['4:10 task "x": nap: expected a mapping, found "soon"']);
    expect(problems('acme-mail: { to: "a@b\\0" }')).toEqual([
      '4:22 task "x": acme-mail.to: holds a NUL character, which the database cannot store',
    ]);
  });

  test("is told with the names of all types when its own is misspelt, missing or doubled", () => {
    expect(problems("acme-mial: a@b")).toEqual(['4:5 task "x": unknown key "acme-mial"; did you mean "acme-mail"?']);
    expect(problems("queue: q")).toEqual([
      '3:5 task "x": a task has exactly one of the keys bash, python, fn, http, sql, docker, noop, acme-mail, nap',
    ]);
    expect(problems("noop: {}\n    nap:")).toEqual([expect.stringContaining("exactly one of the keys")]);
    expect(problems("acme-mail: a@b", [])).toEqual([
      expect.stringMatching(/unknown key "acme-mail"; allowed here: .*; a plugin's type is known where SLUICE_PLUGINS/),
    ]);
  });

  test("with an expression in a place leaves that place to the worker, and no other", () => {
    expect(problems("acme-mail: { to: '${{ run.id }}', copies: '${{ task.attempt }}' }")).toEqual([]);
    expect(problems("acme-mail: { to: a@b, server: '${{ run.id }}' }")).toEqual([]);
    expect(problems("acme-mail: { to: '${{ run.id }}', copies: two, cc: '${{ run.id }}' }")).toEqual([
      expect.stringContaining("acme-mail.copies: Invalid input: expected number"),
      expect.stringContaining('unknown key "cc"; allowed here: to, subject, copies, server'),
    ]);
    expect(problems("acme-mail: { to: '${{ params.nope }}' }")).toEqual([
      expect.stringContaining('acme-mail.to: "nope" is not a param'),
    ]);
  });

  test("takes no secret where others of the machine could read it", () => {
    expect(problems("acme-mail: { to: '${{ secrets.TO }}', subject: '${{ secrets.S }}' }")).toEqual([
      expect.stringMatching(/acme-mail.subject: a secret cannot stand in "subject"/),
    ]);
  });
});

test("a stored spec of a type that nobody knows is refused, and one of a plugin is read without it", () => {
  const task = { id: "x", type: "acme-mail", config: { any: ["thing"] } };
  expect(() => DagSpec.parse({ id: "a", tasks: [task] })).toThrow(/\\"acme-mail\\" is no type of task/);
  const types = { "acme-mail": { displayName: "Mail", icon: "mail", slotClass: "inline" } };
  expect(DagSpec.parse({ id: "a", types, tasks: [task] }).tasks[0]).toMatchObject(task);
});

test("editors are told what the plugin's library can say of a config", () => {
  const jsonSchema = { type: "object", properties: { to: { type: "string" } }, required: ["to"] };
  const check = z.fromJSONSchema(definitionJsonSchema([{ ...mail, jsonSchema }, nap]));
  const file = (task: object): object => ({ id: "a", tasks: [{ id: "x", ...task }] });
  for (const good of [{ "acme-mail": "a@b" }, { "acme-mail": { to: "a@b" } }, { nap: null }, { nap: { any: 1 } }])
    expect(check.safeParse(file(good)).error).toBeUndefined();
  for (const wrong of [{ "acme-mail": null }, { "acme-mail": { to: 5 } }, { nap: "x" }, { nip: {} }])
    expect(check.safeParse(file(wrong)).success).toBe(false);
});

test("a config that looks like any example is stored whole", () => {
  const bash = DagSpec.parse({ id: "a", tasks: [{ id: "x", type: "bash", config: { command: "x" } }] });
  expect(DagSpec.parse(compactSpec(bash))).toEqual(bash);
});
