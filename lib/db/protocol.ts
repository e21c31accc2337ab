import { type ProtocolRange, protocolTrouble } from "#lib/domain/protocol.ts";
import type { Db } from "./pool.ts";

/** A process and its database do not work together. The message is for the person who runs it. */
export class ProtocolError extends Error {}

/** Throws a `ProtocolError` when the database does not take this program's protocol. */
export async function requireProtocol(db: Db): Promise<void> {
  const { rows } = await db.query<ProtocolRange>("select min, max from sluice.protocol");
  const trouble = rows[0] && protocolTrouble(rows[0]);
  if (trouble !== undefined) throw new ProtocolError(trouble);
}

const MISMATCHES = new Set([
  "42883", // undefined_function
  "42703", // undefined_column
  "0A000", // feature_not_supported: a function's result has changed under a prepared statement
]);

/** True when a call failed because the database's function is not the one that this program knows. */
export function isMismatch(error: unknown): boolean {
  const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
  return MISMATCHES.has(code);
}
