type Write = (fields: Record<string, unknown>, message: string) => void;

/** What rooms need of a logger (pino's shape), so that none of them depends on a library to say something. */
export type Log = { debug: Write; info: Write; warn: Write; error: Write; fatal: Write };
