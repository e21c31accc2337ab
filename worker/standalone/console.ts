import { styleText } from "node:util";
import { renderLogLine } from "#lib/obs/log-line.ts";

type Style = Parameters<typeof styleText>[0];

const PREFIX_STYLE: Record<string, Style> = { web: "cyan", scheduler: "magenta", worker: "green", sluice: "blue" };
const WIDTH = "scheduler".length;

export type Console = {
  /** A line for the person who started us, as it is. */
  print(line: string): void;
  /** A line of ours about what goes on. */
  say(line: string): void;
  /** A line of a child. */
  forward(name: string, line: string): void;
};

/** One console for all processes: every line says whose it is. */
export function createConsole(output: NodeJS.WriteStream): Console {
  const color = output.isTTY && output.hasColors();
  const write = (line: string) => void output.write(`${line}\n`);
  const prefix = (name: string) => {
    const label = name.padEnd(WIDTH);
    return color ? styleText(PREFIX_STYLE[name] ?? "white", label, { validateStream: false }) : label;
  };
  // The terminal may close while the children still have to be stopped.
  output.on("error", () => undefined);
  return {
    print: write,
    say: (line) => write(`${prefix("sluice")} | ${line}`),
    forward: (name, line) => write(`${prefix(name)} | ${renderLogLine(line, { color })}`),
  };
}
