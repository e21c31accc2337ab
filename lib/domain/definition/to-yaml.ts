import { stringify } from "yaml";
import type { DagSpec } from "../model/dag.ts";
import { toFileData } from "./to-file.ts";

/** The spec as a YAML definition file. */
export function toYaml(spec: DagSpec): string {
  return stringify(toFileData(spec), { lineWidth: 0, blockQuote: "literal", aliasDuplicateObjects: false });
}

/** The spec as a JSON definition file. */
export function toJson(spec: DagSpec): string {
  return `${JSON.stringify(toFileData(spec), undefined, 2)}\n`;
}
