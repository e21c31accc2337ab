import { spawn } from "node:child_process";
import path from "node:path";

export const ROOT = path.resolve(import.meta.dirname, "../..");

export type Count = { passed: number; failed: number };
export type StepResult = Count & { name: string; seconds: number };

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

export function secondsText(seconds: number): string {
  return `${seconds.toFixed(1).padStart(6)} s`;
}
