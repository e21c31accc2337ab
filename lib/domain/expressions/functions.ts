/** Functions beside CEL's own. All of them are pure: the same arguments give the same answer. */
export const FUNCTIONS = [
  {
    signature: "toJson(dyn): string",
    about: "The value as JSON text.",
    handler: (value: unknown): string => JSON.stringify(value, plainMember),
  },
  {
    signature: "fromJson(string): dyn",
    about: "The value that a JSON text holds.",
    handler: (text: string): unknown => celValue(JSON.parse(text) as unknown),
  },
  {
    signature: "shellQuote(string): string",
    about: "The text as one word of a shell command.",
    handler: (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`,
  },
] as const;

function plainMember(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

/** Beyond this depth values are refused: what goes through them does so by recursion. */
const MAX_DEPTH = 100;

/**
 * A JSON value as CEL takes it: whole numbers are its integers, objects have no prototype, so that nothing is found
 * in them but their own members. Throws for one that is nested deeper than anybody would write.
 */
export function celValue(value: unknown, depth = 0): unknown {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) throw new Error(`a value is nested more than ${MAX_DEPTH} deep, which no expression reads`);
  if (Array.isArray(value)) return value.map((item) => celValue(item, depth + 1));
  const object = Object.create(null) as Record<string, unknown>;
  for (const [key, member] of Object.entries(value)) object[key] = celValue(member, depth + 1);
  return object;
}
