import type { z } from "zod";

type Schema = z.core.$ZodType;
type Definition = {
  type: string;
  innerType?: Schema;
  in?: Schema;
  getter?: () => Schema;
  options?: readonly Schema[];
  shape?: Record<string, Schema>;
  element?: Schema;
  valueType?: Schema;
};

const definitionOf = (schema: Schema): Definition => schema._zod.def;

/** The schemas a value at this place may have: wrappers taken off, unions taken apart. */
function alternatives(schema: Schema): Schema[] {
  const definition = definitionOf(schema);
  const inner =
    definition.innerType ?? definition.in ?? (definition.type === "lazy" ? definition.getter?.() : undefined);
  if (inner !== undefined) return alternatives(inner);
  return definition.options?.flatMap(alternatives) ?? [schema];
}

function memberOf(schema: Schema, key: PropertyKey): Schema[] {
  const { shape, element, valueType } = definitionOf(schema);
  if (shape !== undefined) return Object.hasOwn(shape, key) ? [shape[key as string]!] : [];
  const member = typeof key === "number" ? element : valueType;
  return member === undefined ? [] : [member];
}

/** The keys that a mapping at this path may have, as the schema says. */
export function keysAt(schema: Schema, path: readonly PropertyKey[]): string[] {
  let here = alternatives(schema);
  for (const key of path) here = here.flatMap((one) => memberOf(one, key)).flatMap(alternatives);
  return [...new Set(here.flatMap((one) => Object.keys(definitionOf(one).shape ?? {})))];
}
