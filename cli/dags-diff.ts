import { Command } from "commander";
import type { DagSpec } from "#lib/domain/model/dag.ts";
import { EXIT, trouble, usageIsTrouble } from "./exit.ts";
import { printJson, printLine } from "./print.ts";
import { readDagOrExit } from "./read-dag.ts";
import { parseNumber, versionOrExit } from "./read-versions.ts";

type Options = { from?: number; to?: number; json?: true };
type Side = { name: string; spec: DagSpec };

/** `sluice dags diff` */
export function diffCommand(): Command {
  return usageIsTrouble(new Command("diff"))
    .description("What differs between two versions of a DAG, or between its current version and a file.")
    .argument("<id>", "the DAG")
    .argument("[file]", "a definition, to see what loading it would change")
    .option("--from <number>", "the older version (default: the one before; with a file: the current one)", parseNumber)
    .option("--to <number>", "the newer version (default: the current one)", parseNumber)
    .option("--json", "print {from, to, changes} as JSON")
    .addHelpText(
      "after",
      `
Exit code, as diff(1): 0 nothing differs, 1 something does, 2 there is no such DAG, version or file.

Examples:
  $ sluice dags diff etl
  $ sluice dags diff etl --from 2 --to 5
  $ sluice dags diff etl dags/etl.ts`,
    )
    .action(diff);
}

async function diff(id: string, file: string | undefined, options: Options): Promise<void> {
  if (file !== undefined && options.to !== undefined) return trouble("a diff has one newer side: --to or a file");
  const sides = file === undefined ? await twoVersions(id, options) : await versionAndFile(id, file, options.from);
  if (sides === undefined) return;
  const { diffSpecs, formatDiff } = await import("#lib/domain/spec-diff.ts");
  const [from, to] = sides;
  const changes = diffSpecs(from.spec, to.spec);
  if (changes.length > 0) process.exitCode = EXIT.no;
  if (options.json) return printJson({ from: from.name, to: to.name, changes });
  if (changes.length === 0) return printLine(`${from.name} and ${to.name} are the same`);
  printLine(`--- ${from.name}\n+++ ${to.name}\n${formatDiff(changes)}`);
}

async function twoVersions(id: string, { from, to }: Options): Promise<[Side, Side]> {
  const newer = await versionOrExit(id, to);
  if (from === undefined && newer.number === 1)
    return trouble(`"${id}" has no version before 1: give --from, or a file`);
  const older = await versionOrExit(id, from ?? newer.number - 1);
  return [sideOf(id, older), sideOf(id, newer)];
}

async function versionAndFile(id: string, file: string, from?: number): Promise<[Side, Side] | undefined> {
  const read = await readDagOrExit(file);
  if (read === undefined) return undefined;
  const { spec } = read.dag;
  if (spec.id !== id) return trouble(`${file} defines the DAG "${spec.id}", not "${id}"`);
  return [sideOf(id, await versionOrExit(id, from)), { name: file, spec }];
}

function sideOf(id: string, { number, spec }: { number: number; spec: DagSpec }): Side {
  return { name: `${id} version ${number}`, spec };
}
