import { setTimeout as delay } from "node:timers/promises";
import path from "node:path";
import pg from "pg";
import { messageOf } from "#lib/domain/errors.ts";
import { type Binaries, findBinaries } from "./binaries.ts";
import { EmbeddedPostgresError } from "./errors.ts";
import {
  assertCluster,
  codeOf,
  type Folder,
  hasCluster,
  keepPort,
  prepareFolder,
  readOrMakePassword,
  readPort,
} from "./folder.ts";
import { initCluster, SUPERUSER } from "./initdb.ts";
import { endOrphans, stopLeftRunning } from "./left-running.ts";
import { tieToOwner } from "./lifeline.ts";
import { assertReachable, findOwner, type Owner } from "./owner.ts";
import { choosePort } from "./port.ts";
import { type Exit, type Server, spawnServer, waitUntilReady } from "./server.ts";
import { watchServer } from "./watch.ts";

const DATABASE = "sluice";
const START_ATTEMPTS = 10;
const RETRY_MS = 200;

export type EmbeddedPostgresOptions = {
  /** Folder of this Postgres alone: its data, its password, its port. Made when missing. */
  dataDir: string;
  logFile: string;
  /** False only in tests: a crash of the machine may then lose the data. */
  fsync?: boolean;
  /** The port of a server whose clients go on: only this port will do, and only the data that was there. */
  restartOn?: number;
  /** For what is thrown away: the server ends when this process is gone, however that ended. */
  endsWithOwner?: boolean;
  /** Gives the start up, and ends what it has begun. */
  signal?: AbortSignal;
  /** How long a server may start without a word about it; a minute. One that says that it is starting is waited for. */
  silenceMs?: number;
  /** Server settings on top of ours. */
  settings?: Record<string, string>;
  say?: (line: string) => void;
};

export type EmbeddedPostgres = {
  url: string;
  port: number;
  /** The postmaster. */
  pid: number;
  /** Ends all sessions and the server; after `graceMs` without a checkpoint. */
  stop(graceMs?: number): Promise<void>;
  /** Resolves when the server process is gone, whoever ended it. One that others told to stop does not wait for its sessions. */
  exited: Promise<Exit>;
};

type Prepared = { binaries: Binaries; owner: Owner; folder: Folder; password: string };

/** A real Postgres from npm on 127.0.0.1, with the database `sluice`; its data outlives it. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const prepared = await prepare(options);
  for (let attempt = 1; ; attempt += 1) {
    options.signal?.throwIfAborted();
    const port = options.restartOn ?? (await choosePort(await readPort(prepared.folder)));
    try {
      return await startOnce(prepared, options, port);
    } catch (error) {
      if (attempt >= START_ATTEMPTS || !isPassing(error)) throw error;
      if (isHeld(error)) await endOrphans(prepared.folder);
      await delay(RETRY_MS);
    }
  }
}

async function prepare(options: EmbeddedPostgresOptions): Promise<Prepared> {
  const binaries = await findBinaries();
  const { say = () => undefined } = options;
  const owner = await findOwner(say);
  await assertReachable(path.dirname(binaries.postgres), owner, "the Postgres program");
  if (options.restartOn !== undefined) await assertCluster(options.dataDir);
  const folder = await prepareFolder(options.dataDir, owner);
  const password = await readOrMakePassword(folder);
  if (await hasCluster(folder)) await stopLeftRunning(binaries, folder, owner, say);
  else await initCluster(binaries, folder, owner, password, options.fsync ?? true);
  return { binaries, owner, folder, password };
}

async function startOnce(
  prepared: Prepared,
  options: EmbeddedPostgresOptions,
  port: number,
): Promise<EmbeddedPostgres> {
  const server = await openServer(prepared, options, port);
  const urlOf = (database: string) => `postgres://${SUPERUSER}:${prepared.password}@127.0.0.1:${port}/${database}`;
  const { pgData } = prepared.folder;
  if (options.endsWithOwner === true) tieToOwner(server);
  try {
    await waitUntilReady(server, { ...options, url: urlOf("postgres"), pgData });
    await ensureDatabase(urlOf("postgres"));
    await keepPort(prepared.folder, port);
  } catch (error) {
    await server.stop();
    throw error;
  }
  void watchServer(server, pgData, options.say ?? (() => undefined));
  return { url: urlOf(DATABASE), port, pid: server.process.pid ?? 0, stop: server.stop, exited: server.exited };
}

async function openServer(prepared: Prepared, options: EmbeddedPostgresOptions, port: number): Promise<Server> {
  const { binaries, owner, folder } = prepared;
  const durability: Record<string, string> = options.fsync === false ? { fsync: "off", full_page_writes: "off" } : {};
  try {
    const extraSettings = { ...durability, ...options.settings };
    return await spawnServer({ binaries, owner, pgData: folder.pgData, port, logFile: options.logFile, extraSettings });
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `The embedded Postgres cannot write its log ${options.logFile} (${codeOf(cause)})`,
      { cause },
    );
  }
}

// A port lost to another program between our look and the start, or sessions of a killed server that have not ended yet.
function isPassing(error: unknown): boolean {
  return /Address already in use|create any TCP\/IP sockets/.test(messageOf(error)) || isHeld(error);
}

// Said only when no server that the pid file names lives on the folder.
function isHeld(error: unknown): boolean {
  return messageOf(error).includes("shared memory block");
}

async function ensureDatabase(adminUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    // A superuser's session, in a database where others may have made functions.
    await client.query("set search_path = pg_catalog, pg_temp");
    const found = await client.query("select 1 from pg_database where datname = $1", [DATABASE]);
    if (found.rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}
