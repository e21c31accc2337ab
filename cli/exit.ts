import type { Command } from "commander";

/** Exit codes of commands that answer a question, as diff(1) and grep(1) have them. */
export const EXIT = {
  /** The answer is yes: valid, same, succeeded. */
  yes: 0,
  /** The answer is no: invalid, different, failed. */
  no: 1,
  /** There is no answer: wrong usage, nothing of that name, no database. */
  trouble: 2,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const;

/** Ends this process with one line per problem: the question could not be answered. */
export function trouble(...problems: readonly string[]): never {
  for (const problem of problems) process.stderr.write(`sluice: ${problem}\n`);
  process.exit(EXIT.trouble);
}

/** Makes wrong options and arguments end with the code of no answer; commander's own is that of "no". */
export function usageIsTrouble(command: Command): Command {
  return command.exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.yes : EXIT.trouble));
}
