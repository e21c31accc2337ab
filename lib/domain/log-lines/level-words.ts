/** The levels that lines of output are sorted by, the gravest first. */
export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const WORDS: Record<LogLevel, string> = {
  error: "error err fatal ftl critical crit severe emergency emerg alert panic",
  warn: "warning warn wrn",
  info: "information info inf notice",
  debug: "debug dbg trace trc verbose",
};

const LEVELS = new Map(
  LOG_LEVELS.flatMap((level) => WORDS[level].split(" ").map((word): [string, LogLevel] => [word, level])),
);

/** The level that a word names, in whatever case. */
export function levelOfWord(word: string): LogLevel | undefined {
  return LEVELS.get(word.toLowerCase());
}

const KEYS = new Set(["level", "lvl", "severity", "levelname", "levelno", "loglevel", "log_level", "log.level", "@l"]);

/** True for the name of a field that holds a level. */
export function isLevelKey(name: string): boolean {
  return KEYS.has(name.toLowerCase());
}

/** The level of a number: of Python's `levelno`, of pino and bunyan (10 and more), or of syslog (0 to 7). */
export function levelOfNumber(key: string, number: number): LogLevel | undefined {
  const [error, warn, info] = key.toLowerCase() === "levelno" ? [40, 30, 20] : [50, 40, 30];
  if (number >= error) return "error";
  if (number >= warn) return "warn";
  if (number >= info) return "info";
  if (number >= 10) return "debug";
  return Number.isInteger(number) && number >= 0 ? SYSLOG[number] : undefined;
}

const SYSLOG: readonly LogLevel[] = ["error", "error", "error", "error", "warn", "info", "info", "debug"];
