import { spawn } from "node:child_process";
import path from "node:path";

export const ROOT = path.resolve(import.meta.dirname, "../..");

export type Count = { passed: number; failed: number };
/** `failures`: a text for each failed test, its name in the first line. */
export type Outcome = Count & { failures: readonly string[] };
export type StepResult = Outcome & { name: string; seconds: number };

export type Command = { name: string; command: string; args: string[]; env?: Record<string, string> };

export type Ran = { ok: boolean; output: string; seconds: number };

/** Runs a program of this repository in its root; `stream` shows its output at once, else it is collected. */
export async function run(step: Command, stream: boolean): Promise<Ran> {
  const startedAt = performance.now();
  const bin = path.join(ROOT, "node_modules/.bin");
  const child = spawn(step.command, step.args, {
    cwd: ROOT,
    env: { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH ?? ""}`, ...step.env },
    stdio: stream ? "inherit" : ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const pipe of [child.stdout, child.stderr])
    pipe?.setEncoding("utf8").on("data", (text) => (output += String(text)));
  const ok = await new Promise<boolean>((resolve) => {
    child.on("error", (error) => {
      output += `${step.command}: ${error.message}\n`;
      resolve(false);
    });
    child.on("close", (code) => resolve(code === 0));
  });
  return { ok, output, seconds: (performance.now() - startedAt) / 1000 };
}

/** A step that passes or fails as a whole. */
export function resultOf(name: string, { ok, output, seconds }: Ran): StepResult {
  const failures = ok ? [] : [failure(name, output === "" ? "failed: its output is above" : output)];
  return { name, passed: ok ? 1 : 0, failed: ok ? 0 : 1, failures, seconds };
}

const MOST_LINES = 12;
const MOST_CHARACTERS = 500;

/** What failed and the first lines of how; whole outputs and stacks are where the step ran. */
export function failure(where: string, message: string): string {
  const lines = message.split("\n").filter((line) => line.trim() !== "" && !/^\s+at /.test(line));
  return [where, ...lines.slice(0, MOST_LINES).map((line) => `  ${line.slice(0, MOST_CHARACTERS)}`)].join("\n");
}

export function secondsText(seconds: number): string {
  return `${seconds.toFixed(1).padStart(6)} s`;
}
