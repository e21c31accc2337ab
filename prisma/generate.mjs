// Plain JavaScript: npm's postinstall runs it with whatever Node the machine has.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const generated = path.join(root, "lib", "db", "generated");
const marker = path.join(generated, ".schema-sha256");

function findPrisma() {
  try {
    const manifest = createRequire(import.meta.url).resolve("prisma/package.json");
    const { bin } = JSON.parse(readFileSync(manifest, "utf8"));
    return path.resolve(path.dirname(manifest), typeof bin === "string" ? bin : bin.prisma);
  } catch {
    return undefined;
  }
}

function generate(cli) {
  return spawnSync(process.execPath, [cli, "generate"], {
    cwd: root,
    encoding: "utf8",
    // Prisma wants a schema engine at hand and would download one; `generate` never runs it, so any program will do.
    env: {
      ...process.env,
      PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
      PRISMA_HIDE_UPDATE_MESSAGE: "1",
      CHECKPOINT_DISABLE: "1",
    },
  });
}

const cli = findPrisma();
const schema = path.join(root, "prisma", "schema.prisma");
// Images for production have the generated client and no Prisma CLI.
if (cli !== undefined && existsSync(schema)) {
  const hash = createHash("sha256").update(readFileSync(schema)).digest("hex");
  const current =
    existsSync(path.join(generated, "client.ts")) && existsSync(marker) && readFileSync(marker, "utf8") === hash;
  if (!current) {
    const result = generate(cli);
    if (result.status === 0) writeFileSync(marker, hash);
    else process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error?.message ?? ""}\n`);
    process.exitCode = result.status ?? 1;
  }
}
