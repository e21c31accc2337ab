import type { ProblemDocument } from "#lib/contract/problem.ts";
import { type AppError, ERROR_CODES, type ErrorCode } from "#lib/domain/errors.ts";

const TITLES: Record<number, string> = {
  400: "Bad request",
  401: "Not signed in",
  403: "Not allowed",
  404: "Not found",
  405: "Method not allowed",
  409: "Conflict",
  413: "Payload too large",
  415: "Unsupported media type",
  422: "Unprocessable content",
  429: "Too many requests",
  500: "Internal error",
  503: "Unavailable",
};

export type ProblemExtras = {
  status?: number;
  errors?: ProblemDocument["errors"];
  headers?: Record<string, string>;
};

/** The one shape of every error answer. */
export function problem(code: ErrorCode, detail: string, requestId: string, extras: ProblemExtras = {}): Response {
  const status = extras.status ?? ERROR_CODES[code];
  const document: ProblemDocument = {
    type: "about:blank",
    title: TITLES[status] ?? "Error",
    status,
    detail,
    code,
    ...(extras.errors === undefined ? {} : { errors: extras.errors }),
    requestId,
  };
  const challenge: Record<string, string> = status === 401 ? { "www-authenticate": "Bearer" } : {};
  return new Response(JSON.stringify(document), {
    status,
    headers: {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      "x-request-id": requestId,
      ...challenge,
      ...extras.headers,
    },
  });
}

/** The answer to an expected failure. */
export function problemOf(error: AppError, requestId: string): Response {
  const { errors } = error.details as { errors?: ProblemDocument["errors"] };
  return problem(error.code, error.message, requestId, errors === undefined ? {} : { errors });
}
