import { glob, readFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { NO_PARSERS, type Parser, PARSERS, readBy } from "./parsers-table.ts";

const MIB = 1024 * 1024;
/** Too short to compare, and to fear: refused before it was read, or a mebibyte in no time that matters. */
const NOTHING_MS = 150;
/** At a size that takes so long the growth is told: at a mebibyte, what grows with the square of a text would take hours. */
const ENOUGH_MS = 200;
/** The square is 4. Large hash tables and the collector take up to 2.5, and caches that others fill at the same time some more. */
const MOST = 3.2;

/** Milliseconds of the processor: the clock also counts what others do. */
async function cost(parser: Parser, text: string): Promise<number> {
  const before = process.cpuUsage();
  await readBy(parser, text);
  return process.cpuUsage(before).user / 1_000;
}

/**
 * How much longer twice the text takes, up to a mebibyte: half of what four times takes, as a power, so that one pause of the
 * collector is no growth. The least of some times each.
 */
async function growth(parser: Parser, shape: (length: number) => string): Promise<number> {
  let length = MIB / 16;
  let long = await cost(parser, shape(length));
  while (length < MIB && long < ENOUGH_MS) long = await cost(parser, shape((length *= 2)));
  if (long <= NOTHING_MS) return 1;
  const [shorter, longer] = [shape(length / 4), shape(length)];
  let short = Infinity;
  const perDoubling = (): number => Math.sqrt(long / short);
  for (let again = 0; again < 8 && (again === 0 || perDoubling() > MOST); again++) {
    short = Math.min(short, await cost(parser, shorter));
    long = Math.min(long, await cost(parser, longer));
  }
  return perDoubling();
}

for (const [name, parser] of Object.entries(PARSERS)) {
  test(`${name}: twice as much takes twice as long`, async () => {
    const grown: [string, number][] = [];
    for (const [shape, make] of Object.entries(parser.shapes)) {
      const ratio = await growth(parser, make);
      if (ratio > MOST) grown.push([shape, ratio]);
    }
    expect(grown).toEqual([]);
  }, 600_000);
}

/** What takes a text apart. */
const READS = /JSON\.parse\(|\.(?:exec|matchAll|match|split)\(|\.(?:replace|replaceAll|search)\(\/|\.test\(/;
const ROOMS = "{lib/domain,lib/api,lib/contract,worker/frames}/**/*.ts";

test("every module of these rooms that takes texts apart is in the table, or says why not", async () => {
  const root = path.join(import.meta.dirname, "../..");
  const found: string[] = [];
  for await (const file of glob(ROOMS, { cwd: root })) {
    if (file.endsWith(".test.ts")) continue;
    if (READS.test(await readFile(path.join(root, file), "utf8"))) found.push(file);
  }
  const listed = new Set([...Object.values(PARSERS).flatMap(({ modules }) => modules), ...Object.keys(NO_PARSERS)]);
  expect(found.length).toBeGreaterThan(20);
  expect(found.filter((file) => !listed.has(file))).toEqual([]);
});
