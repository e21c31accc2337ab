import type { ExecutorDefinition } from "../executors/definition.ts";
import type { PluginType } from "../domain/model/plugin-type.ts";
import type { InputOf, StandardSchema } from "../domain/standard-schema.ts";
import type { Outputs, TaskExecutor } from "./types.ts";

/** Marks a plugin's executor across copies of this module. */
const EXECUTOR = Symbol.for("sluice.executor");

/** A text that becomes a value of any type when the task runs. */
type Expression = `${string}\${{${string}}}${string}`;

/** What may be written where a value of this type is wanted: an expression may stand for each part of it. */
export type Written<T> = unknown extends T
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Written<Item>[] | Expression
    : T extends object
      ? { [K in keyof T]: Written<T[K]> } | Expression
      : T | Expression;

/** A whole config is written member by member. */
type WrittenConfig<T> = { [K in keyof T]: Written<T[K]> };

type Config<Input, Short extends string> = WrittenConfig<Input> | (Short extends keyof Input ? string : never);

/**
 * An executor of one's own. Called with a config, it makes a task's executor for the builder:
 * `.task("tell", mail({ to: "ops@example.org" }))`.
 */
export type PluginExecutor<Input, Out, Short extends string> = {
  (
    ...config: Record<never, never> extends Input ? [config?: Config<Input, Short>] : [config: Config<Input, Short>]
  ): TaskExecutor<Outputs, Out>;
  readonly definition: ExecutorDefinition;
};

/**
 * Defines a type of task. Export what it gives from a file or a package that `SLUICE_PLUGINS` names; then tasks of the
 * type can be written in YAML, JSON and TypeScript, and every worker with the plugin runs them.
 */
export function defineExecutor<S extends StandardSchema, Out, const Short extends string = never>(
  definition: ExecutorDefinition<S, Out, Short>,
): PluginExecutor<InputOf<S>, Out, Short> {
  const plugin = definition as unknown as ExecutorDefinition;
  const make = (config: unknown = {}): TaskExecutor<Outputs, Out> => ({ type: "plugin", plugin, config });
  return Object.assign(make, { definition: plugin, [EXECUTOR]: true as const });
}

/** The definition behind what `defineExecutor` gave; undefined for anything else. */
export function definitionOf(value: unknown): ExecutorDefinition | undefined {
  if (typeof value !== "function" || !(EXECUTOR in value) || !("definition" in value)) return undefined;
  return value.definition as ExecutorDefinition;
}

/** What the reader of definitions must know of a plugin. */
export function typeOfDefinition(definition: ExecutorDefinition): PluginType {
  const {
    type,
    displayName,
    icon = "puzzle",
    about,
    config,
    slotClass = "inline",
    shorthand,
    visible = [],
  } = definition;
  return { type, displayName, icon, about, config, slotClass, shorthand, visible };
}
