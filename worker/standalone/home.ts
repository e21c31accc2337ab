import { randomBytes } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { StartupError } from "./startup-error.ts";

/** Where things lie in the data folder. */
export type Home = {
  root: string;
  run: string;
  children: string;
  logs: string;
  postgres: string;
  /** Passwords of the roles of an embedded Postgres, a file for each. */
  roles: string;
  apiTokenFile: string;
  sessionSecretFile: string;
};

/** Makes the data folder and proves that it can be written. */
export async function makeHome(root: string): Promise<Home> {
  const home: Home = {
    root,
    run: path.join(root, "run"),
    children: path.join(root, "run", "children"),
    logs: path.join(root, "logs"),
    postgres: path.join(root, "postgres"),
    roles: path.join(root, "roles"),
    apiTokenFile: path.join(root, "api-token"),
    sessionSecretFile: path.join(root, "session-secret"),
  };
  try {
    await makeFolders(root);
    // When root runs us, the system user postgres passes through to its own folder; the secrets beside it are 0600.
    await chmod(root, process.getuid?.() === 0 ? 0o711 : 0o700);
    for (const folder of [home.run, home.children, home.logs, home.roles])
      await mkdir(folder, { recursive: true, mode: 0o700 });
    const probe = path.join(home.run, `probe-${process.pid}`);
    await writeFile(probe, "");
    await rm(probe);
    return home;
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new StartupError(
      `The data folder ${root} cannot be written (${code}): make it writable, or set SLUICE_HOME to another folder`,
      { cause },
    );
  }
}

// Node's recursive mkdir never returns below a folder such as /proc, which exists and says ENOENT to every new name.
async function makeFolders(folder: string): Promise<void> {
  if (folder !== path.dirname(folder)) {
    const parentExists = await stat(path.dirname(folder)).then(
      () => true,
      () => false,
    );
    if (!parentExists) await makeFolders(path.dirname(folder));
  }
  await mkdir(folder).catch(async (error: unknown) => {
    if (
      !(await stat(folder).then(
        (info) => info.isDirectory(),
        () => false,
      ))
    )
      throw error;
  });
}

/** The secret kept in `file`; a new one the first time. */
export async function readOrMakeSecret(file: string): Promise<string> {
  const kept = await readFile(file, "utf8").catch(() => "");
  if (kept.trim() !== "") return kept.trim();
  const secret = randomBytes(32).toString("base64url");
  const draft = `${file}.${process.pid}.tmp`;
  await writeFile(draft, `${secret}\n`, { mode: 0o600 });
  await rename(draft, file);
  return secret;
}
