import { textTrouble } from "./storable.ts";

/** Values are kept in the database row by row and read by every child: 1 MiB of JSON is the most. */
export const MAX_OUTPUT_BYTES = 1024 * 1024;

export type StorableJson =
  | { ok: true; json: string | undefined }
  | { ok: false; reason: "RESULT_TOO_LARGE" | "RESULT_UNSTORABLE"; error: string };

/**
 * The JSON text of a task's output or a run's conf, or why it cannot be kept ("it …"). Postgres' jsonb has no NUL character and no lone
 * surrogate; JSON has no NaN, no function and no circle. `undefined` is "none".
 */
export function storableJson(value: unknown): StorableJson {
  const unstorable = (error: string): StorableJson => ({ ok: false, reason: "RESULT_UNSTORABLE", error });
  let trouble: string | undefined;
  let json: string | undefined;
  try {
    json = JSON.stringify(value, (key, member: unknown) => {
      trouble ??= textTrouble(key) ?? (typeof member === "string" ? textTrouble(member) : numberTrouble(member));
      return member;
    });
  } catch (error) {
    return unstorable(`it cannot be written as JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (trouble !== undefined) return unstorable(`it ${trouble}`);
  const bytes = json === undefined ? 0 : Buffer.byteLength(json);
  if (bytes <= MAX_OUTPUT_BYTES) return { ok: true, json };
  const error = `it has ${bytes} bytes of JSON; at most ${MAX_OUTPUT_BYTES} are kept`;
  return { ok: false, reason: "RESULT_TOO_LARGE", error };
}

function numberTrouble(member: unknown): string | undefined {
  return typeof member === "number" && !Number.isFinite(member)
    ? `holds ${member}, which JSON does not have`
    : undefined;
}
