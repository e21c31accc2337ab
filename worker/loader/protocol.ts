import type { DagSpec } from "#lib/domain/model/dag.ts";

/** One definition for the evaluating child: a TypeScript file, or the modules that a YAML file's functions name. */
export type EvaluateRequest =
  | { kind: "typescript"; file: string }
  | { kind: "modules"; file: string; references: { module: string; export: string }[] };

export type Evaluated =
  /** `spec` is absent for a TypeScript file that holds no DAG. `files` is the code, by path below the DAGs folder. */
  { ok: true; spec?: DagSpec | undefined; files: Record<string, string> } | { ok: false; message: string };

export function isEvaluated(message: unknown): message is Evaluated {
  if (typeof message !== "object" || message === null || !("ok" in message)) return false;
  if (message.ok === true) return "files" in message && typeof message.files === "object" && message.files !== null;
  return message.ok === false && "message" in message && typeof message.message === "string";
}
