import pg from "pg";
import { messageOf } from "#lib/domain/errors.ts";
import type { Outcome } from "./executor.ts";
import { AnswerTooLarge, AnswerUnclear } from "./sql-query.ts";

type Failure = Extract<Outcome, { kind: "failed" }>;

/** Lost a race that running the statement again settles: serialization, deadlock, a lock that was not free. */
const LOST_RACE = new Set(["40001", "40P01", "55P03"]);

/** The server cannot be reached or takes nobody now: connection errors, too many connections, shutting down, starting. */
const AWAY = /^(08...|53300|57P0[1235])$/;

/** Why a query failed, in the kinds that a retry policy can name. */
export function failureOf(error: unknown, query: string): Failure {
  const failed = (reason: string, text: string): Failure => ({ kind: "failed", reason, error: text });
  if (error instanceof AnswerTooLarge) return failed("RESULT_TOO_LARGE", error.message);
  if (error instanceof AnswerUnclear) return failed("SQL_ERROR", error.message);
  // What is no word of the server is the way to it: names, sockets, certificates.
  if (!(error instanceof pg.DatabaseError))
    return failed("SQL_CONNECTION", `the database could not be reached: ${reachedBy(error)}`);
  const code = error.code ?? "";
  const reason = LOST_RACE.has(code) ? "SQL_RETRYABLE" : AWAY.test(code) ? "SQL_CONNECTION" : "SQL_ERROR";
  return failed(reason, describe(error, query));
}

/** A name with several addresses fails with an error for each and no message of its own. */
function reachedBy(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map((one: unknown) => messageOf(one)).join("; ");
  return messageOf(error);
}

function describe({ message, code, position, detail, hint }: pg.DatabaseError, query: string): string {
  const place = position === undefined ? "" : `, ${placeIn(query, Number(position))}`;
  const more = [detail, hint].filter((text) => text !== undefined && text !== "");
  return [`${message} (SQLSTATE ${code}${place})`, ...more].join("\n");
}

/** Postgres counts characters from 1. */
function placeIn(query: string, position: number): string {
  const before = Array.from(query)
    .slice(0, position - 1)
    .join("");
  const lines = before.split("\n");
  return `line ${lines.length}, column ${Array.from(lines.at(-1)!).length + 1}`;
}
