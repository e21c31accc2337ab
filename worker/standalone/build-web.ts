/** `npm run build`: the web build that `sluice web` serves. `sluice start` makes it by itself. */
import { plainEnv } from "#lib/env.ts";
import { StartupError } from "./startup-error.ts";
import { ensureWebBuild } from "./web-build.ts";

try {
  await ensureWebBuild({ env: plainEnv(), signal: new AbortController().signal, say: (line) => console.log(line) });
} catch (error) {
  if (!(error instanceof StartupError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
