import type { FnContext } from "sluice";

/** Adds up what the task `extract` found. */
export function sum({ outputs }: FnContext<{ extract: { numbers: number[] } }>): { sum: number } {
  const sum = outputs.extract.numbers.reduce((total, n) => total + n, 0);
  console.log(`the sum of ${outputs.extract.numbers.length} numbers is ${sum}`);
  return { sum };
}
