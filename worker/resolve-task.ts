import { evaluateCondition, evaluateTemplate, type ExpressionValues } from "#lib/domain/expressions/evaluate.ts";
import { secretNamesIn } from "#lib/domain/expressions/secret-references.ts";
import { hasExpression } from "#lib/domain/expressions/template.ts";
import { TaskSpec } from "#lib/domain/model/task.ts";
import { createMask, type Mask } from "#lib/domain/secrets/mask.ts";
import { readSecrets, type SecretProvider, type SecretsRead } from "./secrets/provider.ts";

export type Resolved =
  /** `mask` hides the secrets that are in the task now. */
  | { kind: "run"; task: TaskSpec; mask: Mask }
  /** Its condition is false. */
  | { kind: "skip" }
  | Unresolvable;

type Unresolvable = {
  kind: "failed";
  reason: "EXPRESSION" | Extract<SecretsRead, { ok: false }>["reason"];
  error: string;
};

/**
 * The task with its expressions replaced by their values, or what keeps it from running. Only the secrets that it names
 * are asked for, and only when its condition lets it run. Never throws.
 */
export async function resolveTask(
  task: TaskSpec,
  values: ExpressionValues,
  provider: SecretProvider,
): Promise<Resolved> {
  if (task.condition !== undefined) {
    const condition = evaluateCondition(task.condition, values);
    if (!condition.ok) return unresolvable(`condition: ${condition.error}`);
    if (!condition.value) return { kind: "skip" };
  }
  const secrets = await readSecrets(provider, secretNamesIn([task.config, task.env]));
  if (!secrets.ok) return { kind: "failed", reason: secrets.reason, error: secrets.error };
  const mask = createMask(Object.values(secrets.values));
  const replaced = withValues(task, { ...values, secrets: secrets.values });
  return replaced.ok ? { kind: "run", task: replaced.task, mask } : unresolvable(mask.text(replaced.error));
}

const unresolvable = (error: string): Unresolvable => ({ kind: "failed", reason: "EXPRESSION", error });

function withValues(
  task: TaskSpec,
  values: ExpressionValues,
): { ok: true; task: TaskSpec } | { ok: false; error: string } {
  try {
    const config = resolved(task.config, "config", values);
    const env = Object.entries(task.env).map(([name, text]) => [name, asText(resolved(text, `env.${name}`, values))]);
    const whole = { ...task, config, env: Object.fromEntries(env) as unknown };
    const first = TaskSpec.safeParse(whole);
    // Where the config wants text, a number is one: it becomes the text it would be in the middle of another.
    const parsed = first.success ? first : TaskSpec.safeParse(withTexts(whole, first.error.issues));
    if (parsed.success) return { ok: true, task: parsed.data };
    const [issue] = parsed.error.issues;
    return { ok: false, error: `${issue?.path.join(".")}: ${issue?.message}` };
  } catch (error) {
    if (error instanceof Unresolved) return { ok: false, error: error.message };
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
