import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";

const SOURCES = [
  "app",
  "components",
  "lib",
  "public",
  "next.config.mjs",
  "proxy.ts",
  "package.json",
  "package-lock.json",
  "postcss.config.mjs",
  "tsconfig.json",
  "prisma/schema.prisma",
];

// What no page can contain: tests, and the client that the hashed Prisma schema determines.
const LEFT_OUT = /\.test\.tsx?$|^lib\/(?:testing|embedded|db\/generated)\//;

/** A hash of all that decides what the web build contains. */
export async function hashWebSources(root: string): Promise<string> {
  const files = (await Promise.all(SOURCES.map((source) => listFiles(root, source)))).flat().toSorted();
  const hash = createHash("sha256");
  for (const file of files) {
    if (LEFT_OUT.test(file)) continue;
    hash.update(`${file}\0`).update(
      createHash("sha256")
        .update(await readFile(path.join(root, file)))
        .digest(),
    );
  }
  return hash.digest("hex");
}

async function listFiles(root: string, source: string): Promise<string[]> {
  const info = await stat(path.join(root, source)).catch(() => undefined);
  if (info === undefined) return [];
  if (info.isFile()) return [source];
  const entries = await readdir(path.join(root, source), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)).split(path.sep).join("/"));
}
