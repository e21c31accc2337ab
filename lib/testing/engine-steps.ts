import type fc from "fast-check";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { agree } from "./engine-agreement.ts";
import type { Model } from "./engine-model.ts";
import { moveClock } from "./engine.ts";

/** Steps of the model-based test. Each does something to a real engine and to its model, and then compares the two. */

export type Command = fc.AsyncCommand<Model, EngineDeps>;

/** A step: what the model must be like for it, and what it does to the engine and to the model. */
export function step(
  name: string,
  args: object,
  check: (model: Model) => boolean,
  run: (model: Model, deps: EngineDeps) => Promise<void>,
): Command {
  return {
    check,
    run: async (model, deps) => {
      await run(model, deps);
      await agree(model, deps);
    },
    toString: () => `${name} ${JSON.stringify(args)}`,
  };
}

/** A step, and another right after it if that may follow: what few histories have next to each other. */
export function followed(first: Command, second: Command): Command {
  return {
    check: (model) => first.check(model),
    run: async (model, deps) => {
      await first.run(model, deps);
      if (second.check(model)) await second.run(model, deps);
    },
    toString: () => `${first.toString()}, ${second.toString()}`,
  };
}

export const pick = <T>(list: readonly T[], roll: number): T => list[roll % list.length]!;

export const passTime = (seconds: number): Command =>
  step(
    "the clock moves",
    { seconds },
    () => true,
    (model, deps) => pass(model, deps, seconds),
  );

export async function pass(model: Model, deps: EngineDeps, seconds: number): Promise<void> {
  model.clockS += seconds;
  model.latestS = Math.max(model.latestS, model.clockS);
  await moveClock(deps, `${model.clockS} s`);
}

/** Doctor tells by the clock what began before something was changed: one that stands earlier than at their start would deceive it. */
export const catchUp = (model: Model, deps: EngineDeps): Promise<void> =>
  pass(model, deps, model.latestS - model.clockS);
