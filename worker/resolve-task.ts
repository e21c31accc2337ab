import { evaluateCondition, evaluateTemplate, type ExpressionValues } from "#lib/domain/expressions/evaluate.ts";
import { hasExpression } from "#lib/domain/expressions/template.ts";
import { TaskSpec } from "#lib/domain/model/task.ts";

export type Resolved =
  | { kind: "run"; task: TaskSpec }
  /** Its condition is false. */
  | { kind: "skip" }
  | { kind: "failed"; error: string };

/** The task with its expressions replaced by their values, or what keeps it from running. Never throws. */
export function resolveTask(task: TaskSpec, values: ExpressionValues): Resolved {
  if (task.condition !== undefined) {
    const condition = evaluateCondition(task.condition, values);
    if (!condition.ok) return { kind: "failed", error: `condition: ${condition.error}` };
    if (!condition.value) return { kind: "skip" };
  }
  try {
    const config = resolved(task.config, "config", values);
    const env = Object.entries(task.env).map(([name, text]) => [name, asText(resolved(text, `env.${name}`, values))]);
    const whole = { ...task, config, env: Object.fromEntries(env) as unknown };
    const first = TaskSpec.safeParse(whole);
    // Where the config wants text, a number is one: it becomes the text it would be in the middle of another.
    const parsed = first.success ? first : TaskSpec.safeParse(withTexts(whole, first.error.issues));
    if (parsed.success) return { kind: "run", task: parsed.data };
    const [issue] = parsed.error.issues;
    return { kind: "failed", error: `${issue?.path.join(".")}: ${issue?.message}` };
  } catch (error) {
    if (error instanceof Unresolved) return { kind: "failed", error: error.message };
    throw error;
  }
}

/** True when the task cannot be run as it is written: only then are its parents' outputs needed beforehand. */
export function needsResolving({ condition, config, env }: TaskSpec): boolean {
  return condition !== undefined || hasExpression(JSON.stringify([config, env]));
}

class Unresolved extends Error {}

function resolved(value: unknown, where: string, values: ExpressionValues): unknown {
  if (typeof value === "string") {
    if (!hasExpression(value)) return value;
    const result = evaluateTemplate(value, values);
    if (!result.ok) throw new Unresolved(`${where}: ${result.error}`);
    return result.value;
  }
  if (Array.isArray(value)) return value.map((item, index) => resolved(item, `${where}[${index}]`, values));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, resolved(member, `${where}.${key}`, values)]),
  );
}

function withTexts(task: object, issues: readonly { code: string; path: PropertyKey[] }[]): object {
  const copy = structuredClone(task);
  for (const { path } of issues) {
    const parent = path
      .slice(0, -1)
      .reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown>)[key], copy);
    const key = path.at(-1);
    if (key === undefined || typeof parent !== "object" || parent === null) continue;
    const value = (parent as Record<PropertyKey, unknown>)[key];
    if (typeof value === "number" || typeof value === "boolean")
      (parent as Record<PropertyKey, unknown>)[key] = asText(value);
  }
  return copy;
}

const asText = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
