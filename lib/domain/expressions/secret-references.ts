import { parseExpression, references } from "./check.ts";
import { hasExpression, parseTemplate } from "./template.ts";

/** The names of the secrets that expressions in these data use, each once. */
export function secretNamesIn(value: unknown): string[] {
  if (typeof value === "string") return hasExpression(value) ? [...new Set(namesInText(value))] : [];
  if (typeof value !== "object" || value === null) return [];
  return [...new Set(Object.values(value).flatMap(secretNamesIn))];
}

function namesInText(text: string): string[] {
  const template = parseTemplate(text);
  if (!template.ok) return [];
  return template.parts.flatMap((part) => {
    const parsed = part.kind === "expression" ? parseExpression(part.source) : undefined;
    if (parsed?.ok !== true) return [];
    return references(parsed.ast).flatMap(({ root, member }) =>
      root === "secrets" && member !== undefined ? [member] : [],
    );
  });
}
