import { checkTemplate, type Scope } from "../expressions/check.ts";
import { hasExpression, parseTemplate } from "../expressions/template.ts";
import { MAX_HINTS, type Problem } from "../graph.ts";
import type { DagSpec } from "../model/dag.ts";
import type { TaskSpec } from "../model/task.ts";
import type { PluginTypes } from "../model/plugin-type.ts";
import { builtInType } from "../model/task-types.ts";

/**
 * Everything wrong with a spec's expressions, and with what should have been one, with paths as they are in a definition
 * file.
 */
export function expressionProblems(
  dag: Pick<DagSpec, "params" | "tasks" | "callbacks">,
  plugins: PluginTypes,
): Problem[] {
  const { params, tasks, callbacks } = dag;
  const common = { params: new Set(Object.keys(params)), hints: { left: MAX_HINTS } };
  // A callback is made apart from the run: it has no outputs.
  const called: Scope = { ...common, outputs: new Set() };
  const ofDag = textProblems(callbacks, ["callbacks"], { ...called, hasTask: false });
  const ofTasks = tasks.flatMap((task, index) => {
    const scope: Scope = { ...common, outputs: new Set(task.dependsOn) };
    const at = ["tasks", index];
    return [
      ...conditionProblems(task, [...at, "condition"], scope),
      ...configProblems(task, [...at, task.type], scope, plugins),
      ...textProblems(task.env, [...at, "env"], scope),
      ...textProblems(task.callbacks, [...at, "callbacks"], called),
    ];
  });
  return [...ofDag, ...ofTasks];
}

function conditionProblems({ condition }: TaskSpec, path: Problem["path"], scope: Scope): Problem[] {
  if (condition === undefined) return [];
  const template = parseTemplate(condition);
  const isOne = template.ok && template.parts.length === 1 && template.parts[0]!.kind === "expression";
  if (template.ok && !isOne)
    return [{ path, message: "a condition is one expression, written as ${{ … }} with nothing around it" }];
  const refusesSecrets = "a secret cannot be used in a condition: whether the task runs would tell about it";
  return checkTemplate(condition, { ...scope, refusesSecrets }).map(({ message }) => ({ path, message }));
}

function configProblems(
  { type, config }: TaskSpec,
  path: Problem["path"],
  scope: Scope,
  plugins: PluginTypes,
): Problem[] {
  const entry = builtInType(type);
  const visible = (entry ?? plugins.find((plugin) => plugin.type === type))?.visible ?? [];
  const inTexts = Object.entries(config).flatMap(([key, value]) => {
    const refusesSecrets = `a secret cannot stand in "${key}", which other users of the machine can read while the task runs; put it into env and read the variable`;
    return textProblems(value, [...path, key], visible.includes(key) ? { ...scope, refusesSecrets } : scope);
  });
  const besides = entry?.problems?.(config) ?? [];
  return [...inTexts, ...besides.map((problem) => ({ ...problem, path: [...path, ...problem.path] }))];
}

function textProblems(value: unknown, path: Problem["path"], scope: Scope): Problem[] {
  if (typeof value === "string") {
    if (!hasExpression(value)) return [];
    return checkTemplate(value, scope).map(({ message }) => ({ path, message }));
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) =>
    textProblems(member, [...path, Array.isArray(value) ? Number(key) : key], scope),
  );
}
