import pino, { type Logger, type LoggerOptions } from "pino";
import type { LogLevel } from "#lib/env.ts";
import { renderLogLine } from "./log-line.ts";

const SECRET_KEYS = [
  "password",
  "token",
  "secret",
  "authorization",
  "cookie",
  "databaseUrl",
  "sessionUrl",
  "apiToken",
  "sessionSecret",
  "adminPassword",
  "rolePasswords",
];

const REDACT = {
  paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
  censor: "[redacted]",
};

/** JSON lines on stdout; on a terminal the same lines in words. */
export function createLogger(options: { level: LogLevel; component: string }): Logger {
  const base: LoggerOptions = {
    level: options.level,
    base: { component: options.component },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: REDACT,
  };
  return pino(base, { write: writeLine });
}

// Not pino's own stream: when the reader of a pipe is killed it was seen to retry for ever and block the process.
function writeLine(line: string): void {
  if (!process.stdout.listeners("error").includes(ignore)) process.stdout.on("error", ignore);
  process.stdout.write(process.stdout.isTTY ? `${renderLogLine(line.trimEnd(), { color: true })}\n` : line);
}

function ignore(): void {
  // A log that nobody reads any more must not end the process that writes it.
}
