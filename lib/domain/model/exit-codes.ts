import { z } from "zod";

const exitCodes = (about: string) => z.array(z.int().min(1).max(255)).max(16).default([]).describe(about);

/** What exit codes mean beside success and failure, for every type that runs a program. */
export const exitCodeFields = {
  skipOn: exitCodes("Exit codes that end the task `skipped`."),
  failOn: exitCodes("Exit codes that end the task `failed` at once, whatever its retries."),
};

type ExitCodes = { skipOn: readonly number[]; failOn: readonly number[] };
export const areApart = ({ skipOn, failOn }: ExitCodes): boolean => !skipOn.some((code) => failOn.includes(code));
export const CODES_APART = "an exit code stands in skipOn or in failOn, not in both";
