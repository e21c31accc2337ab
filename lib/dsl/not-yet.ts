import { MIN_LOOK_MS } from "../domain/deferral.ts";
import { Duration, durationMs } from "../domain/model/duration.ts";

/** Marks the value across copies of this module: a DAG file may have loaded its own. */
const NOT_YET = Symbol.for("sluice.notYet");

/** A function's answer that it is too early. Made by `notYet`. */
export type NotYet = { readonly [NOT_YET]: true; readonly afterMs: number; readonly reason: string };

/**
 * Returned by a function, it says that it is too early: the task gives its slot back, and the function is called again
 * `after` the given time (1 s is the least) in the same attempt. `reason` is shown to people meanwhile.
 */
export function notYet({ after, reason }: { after: string; reason: string }): NotYet {
  const parsed = Duration(MIN_LOOK_MS).safeParse(after);
  if (!parsed.success)
    throw new Error(`notYet: "after" ${parsed.error.issues[0]!.message}; it is ${JSON.stringify(after)}`);
  if (typeof reason !== "string" || reason === "") throw new Error('notYet: "reason" must say what the task waits for');
  return { [NOT_YET]: true, afterMs: durationMs(parsed.data), reason };
}

export function isNotYet(value: unknown): value is NotYet {
  return typeof value === "object" && value !== null && NOT_YET in value;
}
