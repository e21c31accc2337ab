import { z } from "zod";
import { FileDag } from "./schema.ts";

/** The JSON Schema (2020-12) of a definition file, by which editors complete and check it. */
export function definitionJsonSchema(): Record<string, z.core.util.JSONType> {
  const schema = z.toJSONSchema(FileDag, { io: "input", target: "draft-2020-12", unrepresentable: "any" });
  return {
    ...(schema as Record<string, z.core.util.JSONType>),
    title: "Sluice DAG",
    description: "A DAG definition of Sluice, as YAML or JSON.",
  };
}
