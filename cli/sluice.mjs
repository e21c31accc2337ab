#!/usr/bin/env node
// Plain JavaScript: an older Node, which cannot read the TypeScript sources, must get as far as finding a newer one.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED = [24, 7];
const here = path.dirname(fileURLToPath(import.meta.url));
const [major, minor] = process.versions.node.split(".").map(Number);

if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) {
  // Compiling takes two fifths of a command's time. Who may write there may write the program, too;
  // where this user may not, each start compiles.
  module.enableCompileCache(path.join(here, "../node_modules/.cache/compiled"));
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
