import { realpath } from "node:fs/promises";
import path from "node:path";
import { toJson, toYaml } from "#lib/domain/definition/to-yaml.ts";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { isOfType, type TaskSpec } from "#lib/domain/model/task.ts";
import { sourceOf } from "#lib/domain/model/task-types.ts";
import { shownPath } from "./definition-files.ts";
import type { ReadDag } from "./read-dag.ts";

/** The DAG as a definition file for that place, and what its reader should know. */
export async function convertDag(
  source: ReadDag,
  { to, output }: { to: "yaml" | "json"; output?: string },
): Promise<{ text: string; notes: string[] }> {
  const { dag, root, file } = source;
  const home = path.join(root, path.dirname(file));
  const folder = output === undefined ? home : await realpath(path.dirname(output)).catch(() => path.dirname(output));
  const spec = seenFrom(dag.spec, root, path.resolve(folder));
  const away = spec.tasks.some((task) => fileOf(task)?.startsWith("../"));
  const notes = notesOn(source, output);
  if (away) notes.push("files that its tasks name are outside its folder: one DAGs folder must hold both");
  return { text: to === "yaml" ? toYaml(spec) : toJson(spec), notes };
}

const fileOf = (task: TaskSpec): string | undefined =>
  isOfType(task, "fn") ? task.config.module : sourceOf(task)?.file;

/** The spec with the files of its tasks as paths from `folder` instead of from the DAGs folder. */
export function seenFrom(spec: DagSpec, root: string, folder: string): DagSpec {
  const tasks = spec.tasks.map((task) => {
    const named = fileOf(task);
    if (named === undefined) return task;
    const seen = path.relative(folder, path.join(root, named)).split(path.sep).join("/");
    const member = isOfType(task, "fn") ? "module" : sourceOf(task)!.member;
    return { ...task, config: { ...task.config, [member]: seen } };
  });
  return { ...spec, tasks };
}

function notesOn({ dag, root, file }: ReadDag, output: string | undefined): string[] {
  const shown = shownPath(root, file);
  const isProgram = file.endsWith(".ts");
  const inline = dag.spec.tasks.filter((task) => isOfType(task, "fn") && task.config.export.startsWith("default."));
  const notes: string[] = [];
  if (isProgram)
    notes.push("what the program computed is written as data; its comments and types are not carried over");
  else if (!file.endsWith(".json") && /^\s*#|\s#/m.test(dag.source)) notes.push("comments are not carried over");
  if (/^\s*"?defaults"?\s*:/m.test(dag.source) && !isProgram)
    notes.push("`defaults` is written into the tasks it holds for");
  if (inline.length > 0) {
    const names = inline.map((task) => task.id).join(", ");
    notes.push(`the functions of ${names} stay in ${shown}, which must stay where it is`);
  }
  if (output !== undefined && path.resolve(output).startsWith(root + path.sep))
    notes.push(`${shown} defines "${dag.spec.id}" too: only one of the files can be loaded`);
  return notes;
}
