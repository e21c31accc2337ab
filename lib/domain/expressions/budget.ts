/**
 * What the expressions of one task may do together: steps that are counted and not timed, so that they end in the same way on every
 * machine. A step is some ten nanoseconds: a node of the syntax tree, a value that is looked at, eight characters of a text.
 */
export type Budget = {
  /** Takes steps. Throws a `TooCostly` when there are not so many left, and each time from then on: an expression may catch it. */
  spend(steps: number): void;
  /** The steps to look at all of a value: everything in it as often as it would be written out. */
  sizeOf(value: unknown): number;
};

/** A loop over a list of a hundred thousand with ten operations in it takes a tenth of it. */
const MAX_STEPS = 10_000_000;

/** Of one text that an expression makes, in characters. */
export const MAX_TEXT = 16 * 1024 * 1024;

const CHARACTERS_A_STEP = 8;

export class TooCostly extends Error {}

/** Made once: to make an error takes longer than most steps. */
const TOO_COSTLY = new TooCostly(
  `this looks at too much: the expressions of one task may take ${MAX_STEPS / 1_000_000} million steps together; ` +
    "compare or convert fewer values, or do it in a task of its own and use what that returns",
);

export function createBudget(): Budget {
  let left = MAX_STEPS;
  const sizes = new WeakMap<object, number>();
  const sizeOf = (value: unknown): number => {
    if (typeof value === "string") return textSteps(value);
    if (typeof value !== "object" || value === null) return 1;
    const known = sizes.get(value);
    if (known !== undefined) return known;
    let size = 1;
    if (value instanceof Uint8Array) size += value.length / CHARACTERS_A_STEP;
    else if (Array.isArray(value)) for (const item of value) size += sizeOf(item);
    else for (const [key, member] of Object.entries(value)) size += textSteps(key) + sizeOf(member);
    sizes.set(value, size);
    return size;
  };
  return {
    spend(wanted) {
      left -= wanted;
      if (left < 0) throw TOO_COSTLY;
    },
    sizeOf,
  };
}

/** The steps to read a text once. */
export function textSteps({ length }: { length: number }): number {
  return 1 + length / CHARACTERS_A_STEP;
}
