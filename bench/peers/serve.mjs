/**
 * What the programs of all peers have in common: a process of its own that takes one order at a time from the bench and
 * returns numbers. These programs are plain JavaScript because the types of their packages are not there when the project is
 * checked.
 *
 * The clocks, alike for all peers and for Sluice (`bench/engines/ours.ts`):
 * - `chain`: from the first line of a task's body to the first line of the next one's;
 * - `fibo`, `fan`, `many`: from the call that triggers to the durable end of the last task, as the engine records it;
 * - the second figure of `fan`: from the instant at which the engine has the run and begins it;
 * - `start`: from the call that triggers to the first line of the first task's body.
 */

/** @param {Record<string, (order: any) => Promise<number[]>>} measures */
export function serve(measures) {
  process.on("message", ({ measure, ...order }) => {
    measures[measure](order).then(
      (figures) => process.send({ figures }),
      (error) => process.send({ error: String(error?.stack ?? error) }),
    );
  });
  process.on("disconnect", () => process.exit(0));
  process.send({ ready: true });
}

/** The body of a task that does something. */
export function fibo(n) {
  return n < 2 ? n : fibo(n - 1) + fibo(n - 2);
}

/** From each instant to the next. */
export const gaps = (instants) => instants.slice(1).map((at, n) => at - instants[n]);
