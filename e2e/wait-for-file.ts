import { existsSync, watch } from "node:fs";
import path from "node:path";

/** Resolves when `file` exists; its folder must be there already. */
export function fileAppears(file: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(path.dirname(file), () => check());
    const check = (): void => {
      if (!existsSync(file)) return;
      watcher.close();
      resolve();
    };
    check();
  });
}
