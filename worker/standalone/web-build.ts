import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import type { ProcessEnvironment } from "#lib/env.ts";
import { PACKAGE_ROOT, WEB_BUILD } from "./paths.ts";
import { hashWebSources } from "./source-hash.ts";
import { StartupError } from "./startup-error.ts";

const MARKER = path.join(WEB_BUILD, ".sluice-build");

export type BuildOptions = { env: ProcessEnvironment; signal: AbortSignal; say(line: string): void };

/** Builds the web UI when its sources are not those of the last build. */
export async function ensureWebBuild(options: BuildOptions): Promise<void> {
  // An image ships the build and not its sources.
  if (!(await exists(path.join(PACKAGE_ROOT, "app"))) && (await exists(path.join(WEB_BUILD, "server.js")))) return;
  await generatePrismaClient(options);
  const hash = await hashWebSources(PACKAGE_ROOT);
  if ((await readFile(MARKER, "utf8").catch(() => "")) === hash) return;
  options.say("Building the web UI (only when its sources have changed)");
  await rm(MARKER, { force: true });
  await runNode(["node_modules/next/dist/bin/next", "build"], "The web UI could not be built", options);
  await cp(path.join(PACKAGE_ROOT, ".next", "static"), path.join(WEB_BUILD, ".next", "static"), { recursive: true });
  if (await exists(path.join(PACKAGE_ROOT, "public"))) {
    await cp(path.join(PACKAGE_ROOT, "public"), path.join(WEB_BUILD, "public"), { recursive: true });
  }
  await writeFile(MARKER, hash);
}

async function generatePrismaClient(options: BuildOptions): Promise<void> {
  await runNode(["prisma/generate.mjs"], "The Prisma client could not be generated", options);
}

async function runNode(args: string[], failure: string, options: BuildOptions): Promise<void> {
  const child = spawn(process.execPath, args, {
    cwd: PACKAGE_ROOT,
    env: { ...options.env, NEXT_TELEMETRY_DISABLED: "1" },
    stdio: ["ignore", "pipe", "pipe"],
    signal: options.signal,
  });
  const output: string[] = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => output.push(text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => output.push(text));
  const [code] = (await once(child, "close")) as [number | null];
  if (code === 0) return;
  throw new StartupError(`${failure} (exit code ${code}):\n${output.join("").trim()}`);
}

async function exists(file: string): Promise<boolean> {
  return await stat(file).then(
    () => true,
    () => false,
  );
}
