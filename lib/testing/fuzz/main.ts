/**
 * `npm run fuzz -- --seconds 60 --seed 1 --only functions,loader`: hostile input to what reads it, until the time is over or a
 * fault is found. `--from N --cases 1` runs one case again, as a fault says.
 */
import { parseArgs } from "node:util";
import { fuzz } from "./target.ts";
import { TARGETS as PARTS } from "./targets.ts";
import { web } from "./web.ts";

const TARGETS = [...PARTS, web];

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    only: { type: "string", default: TARGETS.map(({ name }) => name).join() },
    from: { type: "string", default: "0" },
    cases: { type: "string" },
  },
});
const wanted = new Set(values.only.split(","));
const unknown = [...wanted].filter((name) => TARGETS.every((target) => target.name !== name));
if (unknown.length > 0)
  throw new Error(`--only names ${unknown.join()}; there are ${TARGETS.map(({ name }) => name).join()}`);
const seed = Number(values.seed);
console.log(`seed ${seed}`);
// What nobody catches ends whichever process of ours it is in; here that is this one.
let again = "";
process.on("uncaughtException", (error) => {
  console.error(`not caught: ${error.stack}\n  ${again}`);
  process.exit(1);
});
const targets = TARGETS.filter(({ name }) => wanted.has(name));
for (const target of targets) {
  // From the first case on: a whole Sluice takes its time to start.
  let began: number | undefined;
  const seconds = (): number => (performance.now() - (began ??= performance.now())) / 1_000;
  const most = values.cases === undefined ? Infinity : Number(values.cases);
  const more = (ran: number): boolean => ran < most && seconds() < Number(values.seconds) / targets.length;
  const { ran, faults } = await fuzz(target, { seed, from: Number(values.from), more, begins: (how) => (again = how) });
  console.log(
    `${target.name.padEnd(16)} ${ran} cases in ${seconds().toFixed(1)} s: ${faults.length === 0 ? "well" : "FAULT"}`,
  );
  for (const fault of faults) console.error(`  ${fault}`);
  if (faults.length > 0) process.exitCode = 1;
}
