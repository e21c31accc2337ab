/** Evaluates definition files away from the scheduler: their code is the user's. One child per loading pass. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isDag } from "#lib/dsl/index.ts";
import { registerDagHooks } from "../functions/resolve-hook.ts";
import type { Evaluated, EvaluateRequest } from "./protocol.ts";

const dagsDir = process.argv[2]!;
const dagsUrl = pathToFileURL(`${dagsDir}/`).href;

/** Every file below the DAGs folder that was loaded, with what it loaded in turn. */
const loaded = new Set<string>();
registerDagHooks(dagsDir, (url) => {
  if (url.startsWith(dagsUrl) && !url.includes("/node_modules/")) loaded.add(url);
});

async function load(file: string): Promise<Record<string, unknown>> {
  return (await import(pathToFileURL(path.join(dagsDir, file)).href)) as Record<string, unknown>;
}

async function evaluate(request: EvaluateRequest): Promise<Evaluated> {
  loaded.clear();
  try {
    if (request.kind === "modules") {
      for (const { module, export: name } of request.references) {
        const exports = await load(module);
        if (typeof exports[name] !== "function") {
          const known = Object.keys(exports).filter((key) => typeof exports[key] === "function");
          return { ok: false, message: `${module} exports no function "${name}"; it exports: ${known.join(", ") || "none"}` };
        }
      }
      return { ok: true, files: await sources() };
    }
    const dag = (await load(request.file)).default;
    if (!isDag(dag)) return { ok: true, files: {} };
    return { ok: true, spec: dag.toSpec(request.file), files: await sources() };
  } catch (error) {
    return { ok: false, message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

async function sources(): Promise<Record<string, string>> {
  const entries = [...loaded].toSorted().map(async (url) => {
    const file = fileURLToPath(url);
    return [path.relative(dagsDir, file).split(path.sep).join("/"), await readFile(file, "utf8")] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

process.on("message", (request: EvaluateRequest) => void evaluate(request).then((answer) => process.send?.(answer)));
process.on("disconnect", () => process.exit(0));
