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

/**
 * A JSON value as CEL takes it: whole numbers are its integers, objects have no prototype, so that nothing is found
 * in them but their own members.
 */
export function celValue(value: unknown): unknown {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(celValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.assign(
    Object.create(null) as object,
    Object.fromEntries(Object.entries(value).map(([key, member]) => [key, celValue(member)])),
  );
}
