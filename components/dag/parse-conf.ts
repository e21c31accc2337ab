export type ConfResult = { ok: true; conf: Record<string, unknown> } | { ok: false; message: string };

/** The text of the conf field as an object; nothing typed counts as an empty one. */
export function parseConf(text: string): ConfResult {
  if (text.trim() === "") return { ok: true, conf: {} };
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ok: true, conf: { ...value } };
    return { ok: false, message: 'conf must be a JSON object, such as { "day": "2026-01-31" }.' };
  } catch (error) {
    return {
      ok: false,
      message: `This is not valid JSON: ${error instanceof Error ? error.message : "it cannot be read"}.`,
    };
  }
}
