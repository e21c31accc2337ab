import { z } from "zod";
import { messageOf } from "#lib/domain/errors.ts";
import type { ExecutorDefinition } from "./definition.ts";
import type { ExecutorContext, Outcome } from "./executor.ts";
import { RefusedRequest, ResponseTooLarge } from "./http-request.ts";
import { openTaskContext } from "./task-context.ts";

/** As long as a process has after SIGTERM. */
const GIVE_UP_MS = 2_000;

/**
 * Runs a plugin's code, which may do anything: what it throws is a failed end, what it answers is checked before it is
 * believed, and an attempt that must end does, also when the code goes on.
 */
export async function runPlugin(
  type: string,
  run: ExecutorDefinition["run"],
  context: ExecutorContext,
  config: unknown,
): Promise<Outcome> {
  if (context.signal.aborted) return cancelled("the attempt was over before it began");
  const { task, pushed, close } = openTaskContext(context);
  const over = new AbortController();
  const outcome = async (): Promise<Outcome> => {
    try {
      return withPushed(read(type, await run(task, config)), pushed);
    } catch (error) {
      if (error instanceof Error && !context.signal.aborted) task.log.error(error.stack ?? error.message);
      return { kind: "failed", reason: reasonOf(error), error: messageOf(error) };
    }
  };
  try {
    return await Promise.race([outcome(), givenUp(context.signal, over.signal)]);
  } finally {
    close();
    over.abort();
  }
}

const cancelled = (error: string): Outcome => ({ kind: "failed", reason: "CANCELLED", error });

/** Resolves some time after `signal`, unless the run is over by then. */
function givenUp(signal: AbortSignal, over: AbortSignal): Promise<Outcome> {
  return new Promise((resolve) => {
    const onAbort = (): void => {
      const giveUp = (): void =>
        resolve(cancelled(`its code did not end within ${GIVE_UP_MS / 1_000} s of its signal, and was given up`));
      const timer = setTimeout(giveUp, GIVE_UP_MS);
      over.addEventListener("abort", () => clearTimeout(timer), { once: true });
    };
    signal.addEventListener("abort", onAbort, { once: true, signal: over });
  });
}

function reasonOf(error: unknown): string {
  if (error instanceof RefusedRequest) return "ADDRESS_REFUSED";
  return error instanceof ResponseTooLarge ? "RESULT_TOO_LARGE" : "EXCEPTION";
}

const ends = {
  reason: z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/, "must be a word like HTTP_STATUS"),
  exitCode: z.int().min(0).max(255).optional(),
  usage: z.object({ peakMemoryBytes: z.int().min(0).optional(), cpuMs: z.int().min(0).optional() }).optional(),
};

/** What an outcome of each kind must have: it goes into a statement together with the ends of others. */
const OUTCOMES: { readonly [K in Outcome["kind"]]: z.ZodType } = {
  success: z.object({
    ...ends,
    reason: z.undefined().optional(),
    pushed: z.record(z.string(), z.unknown()).optional(),
  }),
  skipped: z.object(ends),
  failed: z.object({
    ...ends,
    error: z.string(),
    httpStatus: z.int().optional(),
    isFinal: z.boolean().optional(),
  }),
  deferred: z.object({ usage: ends.usage, afterMs: z.number(), reason: z.string() }),
};

function read(type: string, answer: unknown): Outcome {
  const unusable = (what: string): Outcome => ({
    kind: "failed",
    reason: "EXECUTOR_ERROR",
    error: `the plugin's run of "${type}" must answer with { kind: "success", output } or another outcome; ${what}`,
  });
  const kind: unknown = typeof answer === "object" && answer !== null && "kind" in answer ? answer.kind : undefined;
  if (typeof kind !== "string" || !Object.hasOwn(OUTCOMES, kind))
    return unusable(kind === undefined ? `it answered ${typeof answer}` : `it answered a kind ${JSON.stringify(kind)}`);
  const parsed = OUTCOMES[kind as Outcome["kind"]].safeParse(answer);
  if (parsed.success) return answer as Outcome;
  const [issue] = parsed.error.issues;
  return unusable(`in its answer, ${issue?.path.join(".")}: ${issue?.message}`);
}

function withPushed(outcome: Outcome, pushed: Record<string, unknown>): Outcome {
  return outcome.kind === "success" ? { ...outcome, pushed: { ...pushed, ...outcome.pushed } } : outcome;
}
