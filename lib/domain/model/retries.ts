import { z } from "zod";
import { Duration } from "./duration.ts";
import { Text } from "./names.ts";

export const BACKOFFS = ["fixed", "exponential"] as const;

const RetryOn = z.strictObject({
  exitCodes: z.array(z.int().min(1).max(255)).max(255).optional().describe("Exit codes of a process."),
  httpStatuses: z.array(z.int().min(100).max(599)).max(100).optional().describe("Status codes of a response."),
  errors: z
    .array(Text(64).min(1))
    .max(64)
    .optional()
    .describe("Reasons of an attempt's end, such as TIMEOUT, EXCEPTION, SIGNAL or SQL_CONNECTION."),
});

const RetryPolicy = z.strictObject({
  max: z.int().min(0).max(1_000).default(0).describe("Retries after the first attempt."),
  backoff: z.enum(BACKOFFS).default("exponential").describe("`exponential` doubles the delay at each retry."),
  delay: Duration(0).default("10s").describe("Before the first retry."),
  maxDelay: Duration().default("1h").describe("No delay grows beyond it. A longer `delay` is kept as it is."),
  jitter: z
    .boolean()
    .default(true)
    .describe("Wait a random time between nothing and the delay, so that retries of many tasks spread."),
  retryOn: RetryOn.optional().describe("Only these ends are retried; without it, every failure is."),
});

/** A number is the most retries, with the rest at its default. */
export const Retries = z
  .union([RetryPolicy.shape.max.unwrap().transform((max) => RetryPolicy.parse({ max })), RetryPolicy])
  .default(RetryPolicy.parse({}));
export type Retries = z.output<typeof RetryPolicy>;
