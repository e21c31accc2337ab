import type { DefinitionResult } from "#lib/domain/definition/parse.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import type { PluginType } from "#lib/domain/model/plugin-type.ts";

/**
 * Work for the evaluating child: a TypeScript file, the modules that a YAML file's functions name, the text of a file with
 * tasks of plugins, or a plugin itself.
 */
export type EvaluateRequest =
  | { kind: "typescript"; file: string }
  | { kind: "modules"; file: string; references: { module: string; export: string }[] }
  | { kind: "data"; file: string; text: string }
  | { kind: "plugin"; location: string };

export type Evaluated =
  | {
      ok: true;
      /** Absent for a TypeScript file that holds no DAG. */
      spec?: DagSpec | undefined;
      /** The code, by path below the DAGs folder. */
      files: Record<string, string>;
      /** What the text says. */
      parsed?: DefinitionResult | undefined;
      /** What the plugin brings, without its schemas. */
      types?: PluginType[] | undefined;
    }
  /** `problems` when it is plugins that are to blame. */
  | { ok: false; message: string; problems?: string[] | undefined };

export function isEvaluated(message: unknown): message is Evaluated {
  if (typeof message !== "object" || message === null || !("ok" in message)) return false;
  if (message.ok === true) return "files" in message && typeof message.files === "object" && message.files !== null;
  return message.ok === false && "message" in message && typeof message.message === "string";
}
