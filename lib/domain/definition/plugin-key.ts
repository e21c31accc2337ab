import { z } from "zod";
import { configIssues, type PluginType } from "../model/plugin-type.ts";
import { describeValue } from "./describe-value.ts";

/** What an issue about a key carries, for whoever words it. */
export type UnknownKeys = { unknownKeys: readonly string[]; known: readonly string[] | undefined };

/** What the key of a plugin's type holds: a config as the plugin's own schema allows it. */
export function pluginKey(plugin: PluginType): z.ZodType {
  const written = z.unknown().superRefine((value, context) => {
    const config = writtenConfig(plugin, value);
    if (config === undefined) {
      const expected = plugin.shorthand === undefined ? "a mapping" : "a text or a mapping";
      context.addIssue({ code: "custom", message: `expected ${expected}, found ${describeValue(value)}` });
      return;
    }
    for (const { path, message, unknownKeys, known } of configIssues(plugin, config)) {
      const params = unknownKeys === undefined ? undefined : ({ unknownKeys, known } satisfies UnknownKeys);
      context.addIssue({ code: "custom", path, message, ...(params && { params }) });
    }
  });
  return written.optional().describe(plugin.about);
}

/** The config that is meant by what stands under the key of the type; undefined when that cannot be one. */
export function writtenConfig({ shorthand }: PluginType, value: unknown): Record<string, unknown> | undefined {
  if (typeof value === "string") return shorthand === undefined ? undefined : { [shorthand]: value };
  // `acme-mail:` without a value.
  if (value === null) return {};
  return typeof value === "object" && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
}
