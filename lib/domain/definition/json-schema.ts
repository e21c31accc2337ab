import { z } from "zod";
import { NO_PLUGINS, type PluginType, type PluginTypes } from "../model/plugin-type.ts";
import { fileDag } from "./schema.ts";

type JsonSchema = Record<string, z.core.util.JSONType>;

/** The JSON Schema (2020-12) of a definition file, by which editors complete and check it. */
export function definitionJsonSchema(plugins: PluginTypes = NO_PLUGINS): JsonSchema {
  const schema = z.toJSONSchema(fileDag(plugins), {
    io: "input",
    target: "draft-2020-12",
    unrepresentable: "any",
    override({ jsonSchema, path }) {
      const key = path.join("/").startsWith("properties/tasks/items/properties/") && path.length === 5 ? path[4] : "";
      const plugin = plugins.find(({ type }) => type === key);
      if (plugin !== undefined) Object.assign(jsonSchema, keySchema(plugin));
    },
  });
  return {
    ...(schema as JsonSchema),
    title: "Sluice DAG",
    description: "A DAG definition of Sluice, as YAML or JSON.",
  };
}

/** What the key of a plugin's type holds: its own library has the word on a config. */
function keySchema({ jsonSchema, shorthand }: PluginType): object {
  const { required = [] } = (jsonSchema ?? {}) as { required?: unknown[] };
  const others = [...(required.length === 0 ? ["null"] : []), ...(shorthand === undefined ? [] : ["string"])];
  return { anyOf: [jsonSchema ?? { type: "object" }, ...others.map((type) => ({ type }))] };
}
