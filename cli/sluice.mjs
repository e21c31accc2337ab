#!/usr/bin/env node
// Plain JavaScript: an older Node, which cannot read the TypeScript sources, must get as far as finding a newer one.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { enableCompileCache } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED = [24, 7];
const here = path.dirname(fileURLToPath(import.meta.url));
const [major, minor] = process.versions.node.split(".").map(Number);

if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) {
  keepCompiled();
  const { main } = await import("./main.ts");
  await main(process.argv);
} else {
  const file = process.platform === "win32" ? "node.exe" : "node";
  const newer = [path.join(here, "../node_modules/.bin", file), path.join(here, "../../.bin", file)].find((node) =>
    existsSync(node),
  );
  if (newer === undefined) {
    process.stderr.write(`sluice: Node ${NEEDED.join(".")} or newer is needed; this is ${process.versions.node}\n`);
    process.exit(1);
  }
  // The channel tells the real process when this one is killed.
  const child = spawn(newer, [path.join(here, "sluice.mjs"), ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(`sluice: ${newer} cannot be run: ${error.message}\n`);
    process.exit(1);
  });
  child.on("exit", (code) => process.exit(code ?? 1));
}

/**
 * What removes the types from the sources stays in memory, 10 MiB for each thread, and is not loaded where that has been
 * done before. Where the folder cannot be written nothing is kept. Threads take it from the environment.
 */
function keepCompiled() {
  // oxlint-disable-next-line no-restricted-properties -- because lib/env.ts is among what is to be kept
  const { env } = process;
  env.NODE_COMPILE_CACHE ??= path.join(here, "../node_modules/.cache/sluice");
  enableCompileCache(env.NODE_COMPILE_CACHE);
}
