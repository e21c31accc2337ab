/** Every error a user can meet by name, with the HTTP status the API gives it. */
export const ERROR_CODES = {
  invalid_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  dag_not_found: 404,
  run_not_found: 404,
  backfill_not_found: 404,
  task_instance_not_found: 404,
  not_found: 404,
  idempotency_key_reused: 409,
  action_in_progress: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  definition_invalid: 422,
  too_many_attempts: 429,
  internal: 500,
  unavailable: 503,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * An outcome that a caller asked for and cannot have. Rooms below `lib/api` throw it by code and never
 * know HTTP; `message` is meant for the person who reads it.
 */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}) {
    super(message);
    this.name = "AppError";
    this.code = code;
    this.details = details;
  }
}

/** The text of whatever was thrown, for logs and for people. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
