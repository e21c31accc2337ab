import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

const LEVEL_STYLE: Record<string, Style> = {
  trace: "gray",
  debug: "gray",
  info: "green",
  warn: "yellow",
  error: "red",
  fatal: "red",
};

/** A JSON log line as `HH:MM:SS.mmm LEVEL component msg key=value`; any other line as it is. */
export function renderLogLine(line: string, options: { color: boolean }): string {
  const record = parseRecord(line);
  if (record === undefined) return line;
  const { time, level, component, msg, err, ...rest } = record;
  const paint = (style: Style, text: string) =>
    options.color ? styleText(style, text, { validateStream: false }) : text;
  const label = String(level);
  const parts = [
    paint("gray", clockOf(time)),
    paint(LEVEL_STYLE[label] ?? "white", label.toUpperCase().padEnd(5)),
    typeof component === "string" ? component : "",
    typeof msg === "string" ? msg : "",
    ...Object.entries(rest).map(([key, value]) => paint("gray", `${key}=${valueText(value)}`)),
  ];
  return parts.filter((part) => part !== "").join(" ") + errorText(err);
}

function parseRecord(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{") || !line.endsWith("}")) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== "object" || value === null) return undefined;
    return "level" in value && "time" in value ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function clockOf(time: unknown): string {
  if (typeof time !== "string" && typeof time !== "number") return "";
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return "";
  const pad = (part: number, width: number) => String(part).padStart(width, "0");
  return `${pad(at.getHours(), 2)}:${pad(at.getMinutes(), 2)}:${pad(at.getSeconds(), 2)}.${pad(at.getMilliseconds(), 3)}`;
}

function valueText(value: unknown): string {
  if (typeof value !== "string") return JSON.stringify(value) ?? "";
  return /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value);
}

function errorText(err: unknown): string {
  if (err === undefined) return "";
  if (typeof err !== "object" || err === null) return ` err=${valueText(err)}`;
  const stack = "stack" in err && typeof err.stack === "string" ? err.stack : undefined;
  if (stack !== undefined) return `\n    ${stack.replaceAll("\n", "\n    ")}`;
  return ` err=${JSON.stringify(err)}`;
}
