import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../peers", import.meta.url));

/** Installs the peers' packages, exactly as locked, when they are not there in these versions. */
export async function installPeers(say: (line: string) => void): Promise<void> {
  const { dependencies } = await packageAt(FOLDER);
  const versions = await Promise.all(
    Object.entries(dependencies ?? {}).map(async ([name, wanted]) => {
      const { version } = await packageAt(path.join(FOLDER, "node_modules", name));
      return version === wanted;
    }),
  );
  if (versions.every(Boolean)) return;
  say(`bench: installing the peers' packages in ${FOLDER}`);
  // Their install scripts build natively what there is a version in JavaScript of.
  const npm = spawn("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], {
    cwd: FOLDER,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = (await once(npm, "exit")) as [number | null];
  if (code !== 0) throw new Error(`npm could not install the peers' packages (code ${code ?? "none"})`);
}

type Package = { version?: string; dependencies?: Record<string, string> };

async function packageAt(folder: string): Promise<Package> {
  const text = await readFile(path.join(folder, "package.json"), "utf8").catch(() => "{}");
  return JSON.parse(text) as Package;
}
