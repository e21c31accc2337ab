import os from "node:os";
import { AppError } from "#lib/domain/errors.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { databaseOrExit, holdsSluiceOrExit } from "./database.ts";
import { EXIT, trouble } from "./exit.ts";

/**
 * Does one thing with the engine, as the person at the keyboard, and ends what it started. What the engine refuses
 * ends the process with its reason: code 2 when there is no such thing, 1 otherwise.
 */
export async function withEngine<T>(name: string, work: (deps: EngineDeps, actor: string) => Promise<T>): Promise<T> {
  const url = await databaseOrExit();
  const [{ engineDeps }, { announceRequest }, { createLogger }] = await Promise.all([
    import("#lib/boot.ts"),
    import("#lib/engine/lead-admission.ts"),
    import("#lib/obs/log.ts"),
  ]);
  const deps = engineDeps(
    { databaseUrl: url },
    { name, connections: 2 },
    createLogger({ level: "warn", component: "cli" }),
    announceRequest,
  );
  let refusal: AppError;
  try {
    await holdsSluiceOrExit(deps.pool, url);
    await deps.queue.start();
    return await work(deps, `cli:${os.userInfo().username}`);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    refusal = error;
  } finally {
    await deps.notifier.flush();
    await deps.queue.stop();
    await deps.pool.end();
  }
  if (refusal.code.endsWith("not_found")) return trouble(refusal.message);
  process.stderr.write(`sluice: ${refusal.message}\n`);
  return process.exit(EXIT.no);
}
