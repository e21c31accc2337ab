import type { Log } from "#lib/domain/log.ts";

const ignore = (): void => undefined;

/** For what is told nobody in a test. */
export const SILENT: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore, fatal: ignore };
