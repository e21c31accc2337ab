import { expect, test } from "vitest";
import { recoverySync } from "./server.ts";

test.each([
  ["linux", "5.8.0-generic", true],
  ["linux", "6.1.0", true],
  ["linux", "5.7.19", false],
  ["linux", "4.18.0-553.el8", false],
  ["darwin", "24.5.0", false],
  ["linux", "unknown", false],
])("on %s %s one call syncs the files before a recovery: %s", (platform, kernel, isSo) => {
  expect(recoverySync(platform, kernel)).toEqual(isSo ? { recovery_init_sync_method: "syncfs" } : {});
});
