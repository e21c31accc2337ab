import { functions } from "./functions.ts";
import { definitionFiles, loader, programs } from "./loader.ts";
import { parsers } from "./parsers.ts";
import { nodeSpawner, perlSpawner } from "./spawner.ts";
import type { Target } from "./target.ts";

/** What has processes of its own that can be fuzzed without a Sluice. */
export const TARGETS: readonly Target[] = [
  parsers,
  functions,
  loader,
  definitionFiles,
  programs,
  perlSpawner,
  nodeSpawner,
];
