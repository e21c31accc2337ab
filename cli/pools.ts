import { Command, InvalidArgumentError } from "commander";
import { PoolName } from "#lib/domain/model/names.ts";
import { withEngine } from "./engine.ts";
import { trouble, usageIsTrouble } from "./exit.ts";
import { printJson, printLine, table } from "./print.ts";

/** `sluice pools` */
export function poolsCommand(): Command {
  const pools = usageIsTrouble(new Command("pools"))
    .description("Slots that tasks of all DAGs share.")
    .addHelpText("after", "\nExamples:\n  $ sluice pools set warehouse 8\n  $ sluice pools list");
  for (const command of [list(), set(), remove()]) pools.addCommand(command);
  return pools;
}

function list(): Command {
  return usageIsTrouble(new Command("list"))
    .description("Every pool with what is taken of it.")
    .option("--json", "print JSON")
    .action((options: { json?: true }) =>
      withEngine("pools-list", async ({ pool }) => {
        const { listPools } = await import("#lib/db/pools.ts");
        const pools = await listPools(pool);
        if (options.json) return printJson({ pools });
        const rows = pools.map(({ name, slots, taken, description }) => [name, `${taken}/${slots}`, description ?? ""]);
        for (const line of table(["pool", "taken", "description"], rows)) printLine(line);
      }),
    );
}

function set(): Command {
  return usageIsTrouble(new Command("set"))
    .description("Make a pool, or give it another size. What runs is left alone.")
    .argument("<name>", "the pool", parseName)
    .argument("<slots>", "how many", parseSlots)
    .option("--description <text>", "what it stands for")
    .action((name: string, slots: number, options: { description?: string }) =>
      withEngine("pools-set", async (deps) => {
        const { upsertPool } = await import("#lib/db/pools.ts");
        await upsertPool(deps.pool, name, slots, options.description);
        await deps.requestAdmission();
        printLine(`pool ${name} has ${slots} slots`);
      }),
    );
}

function remove(): Command {
  return usageIsTrouble(new Command("delete"))
    .description("Delete a pool; tasks that name it wait until it is there again.")
    .argument("<name>", "the pool")
    .action((name: string) =>
      withEngine("pools-delete", async ({ pool }) => {
        const { deletePool } = await import("#lib/db/pools.ts");
        if (!(await deletePool(pool, name))) return trouble(`there is no pool "${name}"`);
        printLine(`pool ${name} is gone`);
      }),
    );
}

function parseName(text: string): string {
  const parsed = PoolName.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError(parsed.error.issues[0]!.message);
}

function parseSlots(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a whole number of slots, like 8.");
}
