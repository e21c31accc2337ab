/** Evaluates definition files away from the scheduler: their code is the user's, and so is what reading them costs. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseDefinition } from "#lib/domain/definition/parse.ts";
import type { PluginType } from "#lib/domain/model/plugin-type.ts";
import { jsonSchemaOf } from "#lib/domain/standard-schema.ts";
import { isDag } from "#lib/dsl/index.ts";
import { openChildEnd } from "../frames/child-end.ts";
import { jsonTrouble } from "../frames/counted-json.ts";
import { registerDagHooks } from "../functions/resolve-hook.ts";
import { importPlugin, importPlugins, type Imported } from "../plugins/import.ts";
import type { PluginPlaces } from "../plugins/places.ts";
import {
  ANSWER,
  READY,
  ANSWER_LIMITS,
  answerIn,
  CHECK,
  type Evaluated,
  type EvaluateRequest,
  MOST_BYTES,
  REQUESTS,
} from "./protocol.ts";

const dagsDir = process.argv[2]!;
const places = JSON.parse(process.argv[3]!) as PluginPlaces;
const dagsUrl = pathToFileURL(`${dagsDir}/`).href;

/** Who imports whom among the files of the DAGs folder. Kept over all requests: a module is resolved only once. */
const imports = new Map<string, Set<string>>();
registerDagHooks(dagsDir, {
  base: places.base,
  onImport(from, to) {
    if (!to.startsWith(dagsUrl) || to.includes("/node_modules/")) return;
    imports.set(from, (imports.get(from) ?? new Set()).add(to));
  },
});

/** Imported once, and only when something needs them. */
let imported: Promise<Imported> | undefined;

/** The plugins' types with their schemas; throws when a plugin is broken, which all that needs them is then too. */
async function pluginTypes(): Promise<PluginType[]> {
  const plugins = await (imported ??= importPlugins(places));
  if (plugins.ok) return plugins.executors;
  throw new BrokenPlugins(plugins.problems);
}

class BrokenPlugins extends Error {
  readonly problems: string[];

  constructor(problems: string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** What can be said of a plugin in another process. */
async function describePlugin(location: string): Promise<Evaluated> {
  const plugin = await importPlugin(location);
  if (!plugin.ok) throw new BrokenPlugins(plugin.problems);
  const types = plugin.executors.map(({ config, run: _, ...facts }) => ({
    ...facts,
    jsonSchema: jsonSchemaOf(config),
  }));
  return { ok: true, types, files: {} };
}

const urlOf = (file: string): string => pathToFileURL(path.join(dagsDir, file)).href;

async function load(file: string): Promise<Record<string, unknown>> {
  return (await import(urlOf(file))) as Record<string, unknown>;
}

async function evaluate(request: EvaluateRequest): Promise<Evaluated> {
  try {
    return await answer(request);
  } catch (error) {
    if (error instanceof BrokenPlugins) return { ok: false, message: error.message, problems: error.problems };
    return { ok: false, message: describe(error) };
  }
}

async function answer(request: EvaluateRequest): Promise<Evaluated> {
  switch (request.kind) {
    case "plugin":
      return describePlugin(request.location);
    case "data":
      return {
        ok: true,
        parsed: parseDefinition(request.text, request.file, request.types ?? (await pluginTypes())),
        files: {},
      };
    case "modules":
      return findFunctions(request.references);
    case "typescript":
      return evaluateDag(request.file);
  }
}

async function evaluateDag(file: string): Promise<Evaluated> {
  const plugins = await pluginTypes();
  const dag = (await load(file)).default;
  if (!isDag(dag)) return { ok: true, files: {} };
  return { ok: true, spec: dag.toSpec(file, plugins), files: await sources([file]) };
}

async function findFunctions(references: readonly { module: string; export: string }[]): Promise<Evaluated> {
  for (const { module, export: name } of references) {
    const exports = await load(module);
    const [exported, task] = name.split(".") as [string, string | undefined];
    const dag = exports[exported];
    if (task !== undefined && isDag(dag) && dag.functionOf(task) !== undefined) continue;
    if (typeof exports[name] !== "function") {
      const known = Object.keys(exports).filter((key) => typeof exports[key] === "function");
      const message = `${module} exports no function "${name}"; it exports: ${known.join(", ") || "none"}`;
      return { ok: false, message };
    }
  }
  return { ok: true, files: await sources(references.map((reference) => reference.module)) };
}

/** What went wrong, with the places in the user's own files and none of ours or Node's. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const text = `${error.name}: ${error.message}`
    .replaceAll(`${dagsDir}/`, "")
    .replace(/ imported from .*child\.ts$/, "");
  const frames = (error.stack ?? "").split("\n").filter((line) => line.includes(dagsUrl));
  return [text, ...frames.map((line) => line.replace(dagsUrl, ""))].join("\n");
}

/** The text of these modules and of all they import, directly or not. */
async function sources(modules: readonly string[]): Promise<Record<string, string>> {
  const reached = new Set(modules.map(urlOf));
  for (const url of reached) imports.get(url)?.forEach((imported) => reached.add(imported));
  const entries = [...reached].toSorted().map(async (url) => {
    const file = fileURLToPath(url);
    return [path.relative(dagsDir, file).split(path.sep).join("/"), await readFile(file, "utf8")] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

const parent = openChildEnd(REQUESTS, ({ letter, id, payload }) => {
  if (letter === CHECK) return parent.send(ANSWER, id, Buffer.from(JSON.stringify(answerIn(payload))));
  void evaluate(JSON.parse(payload.toString()) as EvaluateRequest).then((evaluated) => {
    const bytes = Buffer.from(JSON.stringify(evaluated));
    const size = `it has ${bytes.length} bytes, and ${MOST_BYTES} are the most`;
    const trouble = bytes.length > MOST_BYTES ? size : jsonTrouble(bytes, ANSWER_LIMITS);
    if (trouble === undefined) return parent.send(ANSWER, id, bytes);
    const message = `the DAG with the files that it imports is too large: ${trouble}`;
    parent.send(ANSWER, id, Buffer.from(JSON.stringify({ ok: false, message })));
  });
});

parent.send(READY, 0, Buffer.alloc(0));
