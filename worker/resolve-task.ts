import {
  createShared,
  evaluateCondition,
  evaluateTemplate,
  type ExpressionValues,
  type Shared,
} from "#lib/domain/expressions/evaluate.ts";
import { secretNamesIn } from "#lib/domain/expressions/secret-references.ts";
import { hasExpression } from "#lib/domain/expressions/template.ts";
import { TaskSpec } from "#lib/domain/model/task.ts";
import { builtInType } from "#lib/domain/model/task-types.ts";
import { createMask, type Mask, NO_MASK } from "#lib/domain/secrets/mask.ts";
import { checkBy } from "#lib/domain/standard-schema.ts";
import type { Executor } from "#lib/executors/executor.ts";
import { readSecrets, type SecretProvider, type SecretsRead } from "./secrets/provider.ts";

export type Resolved =
  /** `config` is what the executor is given; `mask` hides the secrets that are in the task now. */
  | { kind: "run"; task: TaskSpec; config: unknown; mask: Mask }
  /** Its condition is false. */
  | { kind: "skip" }
  | Unresolvable;

type Unresolvable = {
  kind: "failed";
  reason: "EXPRESSION" | "CONFIG" | Extract<SecretsRead, { ok: false }>["reason"];
  error: string;
};

/**
 * The task with its expressions replaced by their values, or what keeps it from running. Values are asked for only when
 * there are expressions, and of the secrets those that it names, when its condition lets it run. Throws only what
 * `valuesOf` does.
 */
export async function resolveTask(
  task: TaskSpec,
  executor: Executor,
  valuesOf: () => Promise<ExpressionValues>,
  provider: SecretProvider,
): Promise<Resolved> {
  if (!needsResolving(task)) {
    const read = withConfig(executor, task);
    if (!read.ok) return { kind: "failed", reason: "CONFIG", error: issueText(read.issues) };
    return { kind: "run", task, config: read.config, mask: NO_MASK };
  }
  const values = await valuesOf();
  const shared = createShared();
  if (task.condition !== undefined) {
    const condition = evaluateCondition(task.condition, values, shared);
    if (!condition.ok) return unresolvable(`condition: ${condition.error}`);
    if (!condition.value) return { kind: "skip" };
  }
  const secrets = await readSecrets(provider, secretNamesIn([task.config, task.env]));
  if (!secrets.ok) return { kind: "failed", reason: secrets.reason, error: secrets.error };
  const mask = createMask(Object.values(secrets.values));
  const replaced = withValues(task, executor, { ...values, secrets: secrets.values }, shared);
  if (!replaced.ok) return unresolvable(mask.text(replaced.error));
  return { kind: "run", task: replaced.task, config: replaced.config, mask };
}

const unresolvable = (error: string): Unresolvable => ({ kind: "failed", reason: "EXPRESSION", error });

type Issue = { path: PropertyKey[]; message: string };
type Read = { ok: true; task: TaskSpec; config: unknown };

/** The task as the model has it, and its config as its executor's schema makes it. */
function readTask(executor: Executor, data: unknown): Read | { ok: false; issues: readonly Issue[] } {
  const parsed = TaskSpec.safeParse(data);
  return parsed.success ? withConfig(executor, parsed.data) : { ok: false, issues: parsed.error.issues };
}

function withConfig(executor: Executor, task: TaskSpec): Read | { ok: false; issues: readonly Issue[] } {
  // The model knows the built-in types, and has read their configs.
  if (builtInType(task.type) !== undefined) return { ok: true, task, config: task.config };
  const checked = checkBy(executor.config, task.config);
  if (checked.ok) return { ok: true, task, config: checked.value };
  return { ok: false, issues: checked.issues.map(({ path, message }) => ({ path: ["config", ...path], message })) };
}

const issueText = ([issue]: readonly Issue[]): string => `${issue?.path.map(String).join(".")}: ${issue?.message}`;

function withValues(
  task: TaskSpec,
  executor: Executor,
  values: ExpressionValues,
  shared: Shared,
): Read | { ok: false; error: string } {
  try {
    const replaced = (value: unknown, where: string): unknown => resolved(value, where, values, shared);
    const config = replaced(task.config, "config");
    const env = Object.entries(task.env).map(([name, text]) => [name, asText(replaced(text, `env.${name}`))]);
    const whole = { ...task, config, env: Object.fromEntries(env) as unknown };
    const first = readTask(executor, whole);
    // Where the config wants text, a number is one: it becomes the text it would be in the middle of another.
    const read = first.ok ? first : readTask(executor, withTexts(whole, first.issues));
    return read.ok ? read : { ok: false, error: issueText(read.issues) };
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

function resolved(value: unknown, where: string, values: ExpressionValues, shared: Shared): unknown {
  if (typeof value === "string") {
    if (!hasExpression(value)) return value;
    const result = evaluateTemplate(value, values, shared);
    if (!result.ok) throw new Unresolved(`${where}: ${result.error}`);
    return result.value;
  }
  if (Array.isArray(value)) return value.map((item, index) => resolved(item, `${where}[${index}]`, values, shared));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, resolved(member, `${where}.${key}`, values, shared)]),
  );
}

function withTexts(task: object, issues: readonly Issue[]): object {
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
