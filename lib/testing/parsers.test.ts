import { glob, readFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { NO_PARSERS, type Parser, PARSERS, readBy } from "./parsers-table.ts";

const MIB = 1024 * 1024;
/** Too short to compare: refused before it was read, or read at the speed of memory. */
const NOTHING_MS = 40;
/** At a size that takes so long the growth is told: at a mebibyte, what grows with the square of a text would take hours. */
const ENOUGH_MS = 400;
const MOST = 2.5;

/** Milliseconds of the processor: the clock also counts what others do. */
async function cost(parser: Parser, text: string): Promise<number> {
  const before = process.cpuUsage();
  await readBy(parser, text);
  return process.cpuUsage(before).user / 1_000;
}

/** How much longer twice the text takes, up to a mebibyte; the least of some times, because pauses of the collector count too. */
async function growth(parser: Parser, shape: (length: number) => string): Promise<number> {
  let [shorter, longer] = [shape(MIB / 32), ""];
  let [half, whole] = [await cost(parser, shorter), 0];
  for (let length = MIB / 16; length <= MIB; length *= 2) {
    longer = shape(length);
    whole = await cost(parser, longer);
    if (length === MIB || whole > ENOUGH_MS) break;
    [half, shorter] = [whole, longer];
  }
  for (let again = 0; again < 8 && whole > NOTHING_MS && (again === 0 || whole / half > MOST); again++) {
    half = Math.min(half, await cost(parser, shorter));
    whole = Math.min(whole, await cost(parser, longer));
  }
  return whole <= NOTHING_MS ? 1 : whole / half;
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
