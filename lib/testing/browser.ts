import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chromium } from "@playwright/test";

const SYSTEM = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** Quiet and self-contained: no sandbox (tests run as root in containers), no calls home. */
export const BROWSER_ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A browser that is there already: the one named by CHROMIUM_PATH, the system's, or Playwright's own download. */
export function findBrowser(env: Record<string, string | undefined> = process.env): string | undefined {
  const named = env.CHROMIUM_PATH;
  if (named !== undefined && named !== "") {
    if (!existsSync(named)) throw new Error(`CHROMIUM_PATH is ${named}, where there is no file`);
    return named;
  }
  return [...SYSTEM, chromium.executablePath()].find((file) => file !== "" && existsSync(file));
}

function succeeds(command: string, args: string[], timeoutMs: number): boolean {
  console.log(`$ ${command} ${args.join(" ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  return spawnSync(command, args, { stdio: "inherit", timeout: timeoutMs, env }).status === 0;
}

/** Finds a browser or installs one. */
export function ensureBrowser(): string {
  const there = findBrowser();
  if (there !== undefined) return there;
  console.log("No Chromium found; installing one for the browser tests");
  const isRootOnDebian = process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
  if (!succeeds("npx", ["playwright", "install", "chromium"], 180_000) && isRootOnDebian) {
    const updated = succeeds("apt-get", ["update", "-qq"], 180_000);
    if (updated) succeeds("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "chromium"], 600_000);
  }
  const installed = findBrowser();
  if (installed !== undefined) return installed;
  throw new Error(
    "The browser tests need Chromium and none could be installed: install it (Debian: apt-get install chromium) or set CHROMIUM_PATH",
  );
}

if (import.meta.main) console.log(ensureBrowser());
