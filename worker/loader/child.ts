/** Evaluates definition files away from the scheduler: their code is the user's. One child per loading pass. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isDag } from "#lib/dsl/index.ts";
import { registerDagHooks } from "../functions/resolve-hook.ts";
import type { Evaluated, EvaluateRequest } from "./protocol.ts";

const dagsDir = process.argv[2]!;
const dagsUrl = pathToFileURL(`${dagsDir}/`).href;

/** Who imports whom among the files of the DAGs folder. Kept over all requests: a module is resolved only once. */
const imports = new Map<string, Set<string>>();
registerDagHooks(dagsDir, (from, to) => {
  if (!to.startsWith(dagsUrl) || to.includes("/node_modules/")) return;
  imports.set(from, (imports.get(from) ?? new Set()).add(to));
});

const urlOf = (file: string): string => pathToFileURL(path.join(dagsDir, file)).href;

async function load(file: string): Promise<Record<string, unknown>> {
  return (await import(urlOf(file))) as Record<string, unknown>;
}

async function evaluate(request: EvaluateRequest): Promise<Evaluated> {
  try {
    if (request.kind === "modules") {
      for (const { module, export: name } of request.references) {
        const exports = await load(module);
        const [exported, task] = name.split(".") as [string, string | undefined];
        const dag = exports[exported];
        if (task !== undefined && isDag(dag) && dag.functionOf(task) !== undefined) continue;
        if (typeof exports[name] !== "function") {
          const known = Object.keys(exports).filter((key) => typeof exports[key] === "function");
          return {
            ok: false,
            message: `${module} exports no function "${name}"; it exports: ${known.join(", ") || "none"}`,
          };
        }
      }
      return { ok: true, files: await sources(request.references.map((reference) => reference.module)) };
    }
    const dag = (await load(request.file)).default;
    if (!isDag(dag)) return { ok: true, files: {} };
    return { ok: true, spec: dag.toSpec(request.file), files: await sources([request.file]) };
  } catch (error) {
    return { ok: false, message: describe(error) };
  }
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

process.on("message", (request: EvaluateRequest) => void evaluate(request).then((answer) => process.send?.(answer)));
process.on("disconnect", () => process.exit(0));
