import path from "node:path";

/** The folder of package.json: the sources, the web build and the CLI are below it. */
export const PACKAGE_ROOT = path.resolve(import.meta.dirname, "..", "..");

export const CLI_MAIN = path.join(PACKAGE_ROOT, "cli", "sluice.mjs");

export const WEB_BUILD = path.join(PACKAGE_ROOT, ".next", "standalone");
