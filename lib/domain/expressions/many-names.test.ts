import { expect, test } from "vitest";
import { checkTemplate, type Scope } from "./check.ts";

const scopeOf = (names: number): Scope => ({
  params: new Set(Array.from({ length: names }, (_, n) => `p${n}`)),
  outputs: new Set(),
});

/** Milliseconds of the processor for three thousand looks at a name; the least of some times. */
function cost(scope: Scope, name: string): number {
  const took = Array.from({ length: 3 }, () => {
    const before = process.cpuUsage();
    for (let n = 0; n < 3_000; n++) checkTemplate(`\${{ params.${name} }}`, scope);
    return process.cpuUsage(before).user / 1_000;
  });
  return Math.min(...took);
}

test("a name is looked up in time that does not grow with the names that there are", () => {
  const [few, many] = [scopeOf(2_000), scopeOf(200_000)];
  cost(few, "p0");
  // A hundred times the names.
  expect(cost(many, "p199999") / cost(few, "p1999")).toBeLessThan(10);
  expect(cost(many, "nope") / cost(few, "nope")).toBeLessThan(10);
});

test("names that do not exist are compared with others while there are hints left, and told all the same", () => {
  const scope = { ...scopeOf(0), params: new Set(["limit"]), hints: { left: 2 } };
  const told = Array.from({ length: 3 }, () => checkTemplate("${{ params.limt }}", scope)[0]!.message);
  expect(told).toEqual([
    '"limt" is not a param of this DAG; did you mean "limit"?',
    '"limt" is not a param of this DAG; did you mean "limit"?',
    '"limt" is not a param of this DAG; there is: limit',
  ]);
});
