import { Command } from "commander";
import { processSettings } from "#lib/env.ts";
import { trouble, usageIsTrouble } from "./exit.ts";
import { describedPlugins } from "./plugins.ts";
import { printJson } from "./print.ts";

/** `sluice dags schema` */
export function schemaCommand(): Command {
  return usageIsTrouble(new Command("schema"))
    .description("Print the JSON Schema of definition files, by which editors complete and check them.")
    .addHelpText(
      "after",
      `
Types of task that plugins bring (SLUICE_PLUGINS) are in it, as /api/v1/schemas/dag cannot have them.

Example:
  $ sluice dags schema > dag.schema.json
  and at the top of a YAML file: # yaml-language-server: $schema=../dag.schema.json`,
    )
    .action(schema);
}

async function schema(): Promise<void> {
  const settings = processSettings();
  if (!settings.ok) return trouble(...settings.problems);
  const plugins = await describedPlugins(settings.settings, (problems) => trouble(...problems));
  const { definitionJsonSchema } = await import("#lib/domain/definition/json-schema.ts");
  printJson(definitionJsonSchema(plugins.types));
}
