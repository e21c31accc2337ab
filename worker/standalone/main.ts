import { randomUUID } from "node:crypto";
import { childEnv, type Settings } from "#lib/env.ts";
import type { Login } from "#lib/db/roles/grants.ts";
import { EmbeddedPostgresError } from "#lib/embedded/errors.ts";
import { stopOnDisconnect } from "../lifecycle.ts";
import { describePlugins } from "../plugins/describe.ts";
import { placesOf } from "../plugins/places.ts";
import { type ChildHooks, type ChildSpec, type SupervisedChild, superviseChild } from "./child.ts";
import { type Console, createConsole } from "./console.ts";
import { openDatabase } from "./database.ts";
import { heapBounds } from "./heap-bounds.ts";
import { type Home, makeHome, readOrMakeSecret } from "./home.ts";
import { endLeftovers, openChildRecords } from "./leftovers.ts";
import { lockHome } from "./lock.ts";
import { asRole, rolePasswords } from "./own-roles.ts";
import { CLI_MAIN } from "./paths.ts";
import { assertPortFree } from "./port-check.ts";
import { prepareData } from "./prepare-data.ts";
import { StartupError } from "./startup-error.ts";
import { ensureWebBuild } from "./web-build.ts";

// Together below 10 s, the time most service managers give before they kill.
const WEB_GRACE_MS = 1_500;
const SCHEDULER_GRACE_MS = 1_500;
const WORKER_GRACE_MS = 5_000;
const POSTGRES_GRACE_MS = 1_500;

type Undo = () => Promise<void>;
type Run = { settings: Settings; console: Console; signal: AbortSignal; undo: Undo[] };

/** `sluice start`: everything on this machine under one console. Resolves to the exit code when it has been stopped. */
export async function runStandalone(settings: Settings): Promise<number> {
  const stopping = listenForStop();
  const run: Run = { settings, console: createConsole(process.stdout), signal: stopping.signal, undo: [] };
  const exitCode = await startAll(run).then(
    () => 0,
    (error: unknown) => (stopping.signal.aborted ? 0 : explainFailure(error)),
  );
  if (exitCode === 0) await stopping.asked;
  if (exitCode === 0) run.console.say("Stopping");
  for (const undo of run.undo.toReversed()) await undo().catch((error: unknown) => run.console.say(String(error)));
  return exitCode;
}

function listenForStop(): { signal: AbortSignal; asked: Promise<void> } {
  const controller = new AbortController();
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = () => {
    controller.abort();
    resolve();
  };
  // `on`, not `once`: a second signal must find a listener, else Node ends us in the middle of the stop.
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, stop);
  stopOnDisconnect(stop);
  return { signal: controller.signal, asked: promise };
}

function explainFailure(error: unknown): number {
  const known = error instanceof StartupError || error instanceof EmbeddedPostgresError;
  const text = known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`sluice: ${text}\n`);
  return 1;
}

async function startAll(run: Run): Promise<void> {
  // Told once and before anything starts, and not by each child that would end over it.
  const plugins = await describePlugins(placesOf(run.settings));
  if (!plugins.ok) throw new StartupError(plugins.problems.join("\nsluice: "));
  const home = await openHome(run);
  await assertPortFree(run.settings.host, run.settings.port);
  run.signal.throwIfAborted();
  const database = await openDatabase(run.settings.databaseUrl, home, run.console.say, run.signal);
  run.undo.push(() => database.stop(POSTGRES_GRACE_MS));
  run.signal.throwIfAborted();
  const settings = { ...run.settings, databaseUrl: database.url, adminPassword: undefined };
  const passwords = await rolePasswords(settings, home.roles, run.settings.databaseUrl === undefined);
  const { generatedPassword, roles } = await prepareData(
    { databaseUrl: database.url, sessionUrl: settings.sessionUrl ?? database.url },
    { prefix: settings.rolePrefix, passwords },
    run.settings.adminPassword,
    run.console.say,
  );
  run.signal.throwIfAborted();
  const bare = {
    ...settings,
    databaseUrl: undefined,
    sessionUrl: undefined,
    apiToken: undefined,
    sessionSecret: undefined,
  };
  await ensureWebBuild({ env: childEnv(bare), signal: run.signal, say: run.console.say });
  run.signal.throwIfAborted();
  await startChildren(run, home, (login) => asRole(settings, login, roles, passwords));
  greet(run, home, generatedPassword);
}

async function openHome(run: Run): Promise<Home> {
  const home = await makeHome(run.settings.home);
  run.undo.push(await lockHome(home.root, home.run));
  for (const name of await endLeftovers(home.children)) {
    run.console.say(`Ended a ${name} process that an earlier Sluice had left`);
  }
  return home;
}

/** `settingsOf` returns what a kind of process is given: its own role's address of the database. */
async function startChildren(run: Run, home: Home, settingsOf: (login: Login) => Settings): Promise<void> {
  const { console, settings } = run;
  const hooks: ChildHooks = {
    onLine: console.forward,
    say: console.say,
    records: await openChildRecords(home.children),
  };
  // Only the web process answers people and programs, so only it is handed what opens the door.
  const closed = (login: Login) => ({ ...settingsOf(login), apiToken: undefined, sessionSecret: undefined });
  const open = {
    ...settingsOf("web"),
    apiToken: settings.apiToken ?? (await readOrMakeSecret(home.apiTokenFile)),
    sessionSecret: settings.sessionSecret ?? (await readOrMakeSecret(home.sessionSecretFile)),
  };
  const specOf = (name: string, own: Settings, extra: Record<string, string> = {}): ChildSpec => ({
    name,
    modulePath: CLI_MAIN,
    args: [name],
    env: childEnv(own, extra),
  });
  // One that comes back leads admission at once. The name is this supervisor's own: others may use the same database.
  const scheduler = { ...specOf("scheduler", closed("scheduler")), args: ["scheduler", "--name", randomUUID()] };
  // A worker that comes back under its old name takes its tasks over at once instead of waiting for leases to end.
  const worker = specOf("worker", closed("worker"), {
    SLUICE_WORKER_NAME: settings.workerName ?? "standalone",
    SLUICE_HEALTH_PORT: "0",
  });
  const execArgv = heapBounds(worker.env.NODE_OPTIONS);
  const children: SupervisedChild[] = [];
  const supervise = (spec: ChildSpec, graceMs: number) => {
    const child = superviseChild(spec, hooks);
    children.push(child);
    run.undo.push(() => child.stop(graceMs));
  };
  // Stopped in reverse: first no new requests, then no new tasks, then the tasks.
  supervise({ ...worker, execArgv }, WORKER_GRACE_MS);
  supervise({ ...scheduler, execArgv }, SCHEDULER_GRACE_MS);
  supervise(specOf("web", open), WEB_GRACE_MS);
  await Promise.race([Promise.all(children.map((child) => child.ready)), aborted(run.signal)]);
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("stopped")), { once: true });
  });
}

function greet(run: Run, home: Home, generatedPassword: string | undefined): void {
  const { print } = run.console;
  if (generatedPassword !== undefined)
    print(`Sign in as admin with the password ${generatedPassword} (shown only this once)`);
  print(
    run.settings.apiToken === undefined ? `API token: in ${home.apiTokenFile}` : "API token: from SLUICE_API_TOKEN",
  );
  print(`DAGs folder: ${run.settings.dagsDir}`);
  print(`Sluice is ready at ${run.settings.url}`);
}
