import { expect, test } from "vitest";
import { fuzz } from "./target.ts";
import { TARGETS } from "./targets.ts";

/** A part of what `npm run fuzz` does for as long as one likes: as many cases as there is time for in each run of all tests. */
const CASES: Record<string, number> = {
  parsers: 50,
  functions: 12,
  loader: 5,
  definitions: 150,
  programs: 4,
  "spawner-perl": 60,
  "spawner-node": 30,
};
const SEED = 20_261_130;

test.each(TARGETS.map((target) => [target.name, target] as const))(
  "hostile input costs whoever sent it, and nobody else: %s",
  async (name, target) => {
    const cases = CASES[name]!;
    expect(cases).toBeGreaterThan(0);
    const { ran, faults } = await fuzz(target, { seed: SEED, more: (done) => done < cases });
    expect(faults).toEqual([]);
    expect(ran).toBe(cases);
  },
);
