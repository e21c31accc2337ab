import { Command, InvalidArgumentError } from "commander";
import { withEngine } from "./engine.ts";
import { usageIsTrouble } from "./exit.ts";
import { printJson, printLine } from "./print.ts";

/** `sluice limits` */
export function limitsCommand(): Command {
  const limits = usageIsTrouble(new Command("limits"))
    .description("Limits of the whole system, over all DAGs.")
    .addHelpText("after", "\nExamples:\n  $ sluice limits set max-active-tasks 500\n  $ sluice limits show");
  limits.addCommand(show()).addCommand(set());
  return limits;
}

const NAMES = { "max-active-tasks": "max_active_tasks" } as const;
type Name = keyof typeof NAMES;

function show(): Command {
  return usageIsTrouble(new Command("show"))
    .description("Every limit with its value.")
    .option("--json", "print JSON")
    .action((options: { json?: true }) =>
      withEngine("limits-show", async ({ pool }) => {
        const { systemLimits } = await import("#lib/db/system-limits.ts");
        const limits = await systemLimits(pool);
        if (options.json) return printJson({ limits: { maxActiveTasks: limits.max_active_tasks ?? null } });
        for (const [name, key] of Object.entries(NAMES)) printLine(`${name}  ${limits[key] ?? "none"}`);
      }),
    );
}

function set(): Command {
  return usageIsTrouble(new Command("set"))
    .description("Give a limit another value. What runs is left alone.")
    .argument("<name>", `one of: ${Object.keys(NAMES).join(", ")}`, parseName)
    .argument("<value>", "a whole number, or none", parseValue)
    .action((name: Name, value: number | "none") =>
      withEngine("limits-set", async (deps) => {
        const { setSystemLimit } = await import("#lib/db/system-limits.ts");
        await setSystemLimit(deps.pool, NAMES[name], value === "none" ? null : value);
        await deps.requestAdmission();
        printLine(`${name}  ${value}`);
      }),
    );
}

function parseName(text: string): Name {
  if (Object.hasOwn(NAMES, text)) return text as Name;
  throw new InvalidArgumentError(`The limits are: ${Object.keys(NAMES).join(", ")}.`);
}

function parseValue(text: string): number | "none" {
  if (text === "none") return text;
  if (/^\d{1,7}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a whole number like 500, or none.");
}
