import pg from "pg";

const UNREACHABLE_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOTFOUND",
  "ETIMEDOUT",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EPIPE",
  "ENOENT",
  // Postgres: shutting down, crashed, starting, too many connections, not writable (a replica after failover).
  "57P01",
  "57P02",
  "57P03",
  "53300",
  "25006",
  // The server ended the connection: this process stood still in a transaction.
  "25P03",
  "25P04",
]);

/** True when the database could not be reached, which passes, as against a statement it refused, which does not. */
export function isDatabaseUnreachable(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isDatabaseUnreachable);
  if (!(error instanceof Error)) return false;
  const code = codeOf(error);
  if (UNREACHABLE_CODES.has(code) || /^08...$/.test(code)) return true;
  if (
    /Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|timeout expired|Query read timeout/.test(
      error.message,
    )
  )
    return true;
  return error.cause !== undefined && isDatabaseUnreachable(error.cause);
}

/**
 * True when the database or its driver will not take these values, however often they are sent: data it cannot hold (22),
 * what breaks a rule of its own (23), or is too much for it (54, and a text longer than the driver can make).
 */
export function isRefused(error: unknown): boolean {
  return isUnstorable(error) || /^23...$/.test(codeOf(error));
}

/** The same of the values by themselves, whatever else is stored. */
export function isUnstorable(error: unknown): boolean {
  return error instanceof RangeError || /^(22|54)...$/.test(codeOf(error));
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** True for what Postgres itself answers. */
export function isDatabaseError(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError;
}
