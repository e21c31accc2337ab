import { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { messageOf } from "#lib/domain/errors.ts";
import { MAX_OUTPUT_BYTES } from "#lib/domain/output.ts";
import type { DatabaseAddress } from "./sql-address.ts";
import { guardServer } from "./sql-guard.ts";
import { SQL_TYPES } from "./sql-values.ts";

export type Statement = { text: string; values: unknown[]; maxRows: number };

type Row = Record<string, unknown>;

/** `rows` is absent for a statement that gives none. */
export type Answer = { command: string; rowCount: number; rows: Row[] | undefined };

/** The answer is more than a task's output may be; nothing of the statement stays done. */
export class AnswerTooLarge extends Error {}
/** The rows cannot be written as objects. */
export class AnswerUnclear extends Error {}

export type QueryOptions = {
  /** How the connection is called where the server lists its connections. */
  name: string;
  timeoutMs: number;
  signal: AbortSignal;
  onNotice(text: string): void;
};

const CONNECT_MS = 10_000;
/** How long the server is asked to cancel before the connection is simply cut. */
const CANCEL_MS = 800;
/** How often the server looks whether somebody still waits for a running query. */
const CHECK_MS = 500;
/** The server's own limit is a net under ours, so it is later. */
const TIMEOUT_MARGIN_MS = 5_000;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const END_MS = 1_000;

/**
 * Runs one statement on a connection of its own. An abort cancels it on the server: by a second connection, and by
 * closing the first, which the server notices by itself.
 */
export async function runQuery(address: DatabaseAddress, statement: Statement, options: QueryOptions): Promise<Answer> {
  const { signal } = options;
  const socket = new Socket();
  const client = new pg.Client({ ...clientConfig(address, options.name), stream: () => socket });
  // What breaks the connection fails the query under way, and is told by it.
  client.on("error", () => undefined);
  guardServer(client);
  client.on("notice", ({ severity, message }) => options.onNotice(`${severity}: ${message}`));
  let backend: number | undefined;
  let stopping: Promise<void> | undefined;
  const stop = (): void => {
    stopping = (backend === undefined ? Promise.resolve() : cancel(address, options.name, backend)).finally(() =>
      socket.destroy(),
    );
  };
  signal.throwIfAborted();
  signal.addEventListener("abort", stop, { once: true });
  try {
    await client.connect();
    backend = await prepareSession(client, options.timeoutMs);
    signal.throwIfAborted();
    return await answerTo(client, statement);
  } finally {
    signal.removeEventListener("abort", stop);
    await stopping;
    await Promise.race([client.end().catch(() => undefined), delay(END_MS, undefined, { ref: false })]);
    socket.destroy();
  }
}

/** Everything that pg would otherwise look up in the environment is given. */
function clientConfig({ password, options, ...address }: DatabaseAddress, name: string): pg.ClientConfig {
  return {
    ...address,
    // An empty text would not be taken for an answer; a function is.
    password: () => password,
    options: options === "" ? " " : options,
    sslnegotiation: "postgres",
    client_encoding: "UTF8",
    application_name: name,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    types: SQL_TYPES,
  };
}

/** The forms that values are read in, and ends for a query that nobody waits for; answers the session's process. */
async function prepareSession(client: pg.Client, timeoutMs: number): Promise<number> {
  const { rows } = await client.query<{ backend: number }>(
    `select pg_backend_pid() as backend, set_config('datestyle', 'ISO', false), set_config('bytea_output', 'hex', false),
            (select set_config('statement_timeout', $1, false) from pg_settings
              where name = 'statement_timeout' and (setting = '0' or setting::bigint > $1::text::bigint))`,
    [String(Math.min(timeoutMs + TIMEOUT_MARGIN_MS, MAX_TIMEOUT_MS))],
  );
  // Not every server can: older than 14, or on a system that does not tell of closed connections.
  await client
    .query("select set_config('client_connection_check_interval', $1, false)", [String(CHECK_MS)])
    .catch((error: unknown) => {
      if (!(error instanceof pg.DatabaseError)) throw error;
    });
  return rows[0]!.backend;
}

async function cancel(address: DatabaseAddress, name: string, backend: number): Promise<void> {
  const socket = new Socket();
  const client = new pg.Client({ ...clientConfig(address, name), stream: () => socket });
  client.on("error", () => undefined);
  guardServer(client);
  const late = setTimeout(() => socket.destroy(), CANCEL_MS);
  try {
    await client.connect();
    await client.query("select pg_cancel_backend($1)", [backend]);
    await client.end();
  } catch {
    // No second connection to be had: closing the first one has to do.
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
}

/**
 * Rows come in one portion that is one row larger than the most: the server is never asked for more than can be used.
 * What is given up before its end is rolled back, because the connection closes without a Sync.
 */
function answerTo(client: pg.Client, { text, values, maxRows }: Statement): Promise<Answer> {
  const config: pg.QueryArrayConfig & { queryMode: "extended"; rows: number } = {
    text,
    values,
    rowMode: "array",
    // One statement, also without values.
    queryMode: "extended",
    rows: maxRows + 1,
  };
  const query = new pg.Query<unknown[]>(config);
  const { rows, add } = createRows(maxRows);
  return new Promise((resolve, reject) => {
    query.on("row", (row, result) => {
      // Thrown into pg it would end the process.
      try {
        add(row, result!.fields);
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
        // At once: the end of the answer may be here already, and pg would send the Sync that commits.
        client.connection.stream.destroy();
      }
    });
    query.on("error", reject);
    query.on("end", ({ command, rowCount, fields }) =>
      resolve({ command, rowCount: rowCount ?? 0, rows: fields.length === 0 ? undefined : rows }),
    );
    client.query(query);
  });
}

/** Takes rows as they come; `add` throws for one that cannot be had any more. */
function createRows(maxRows: number): { rows: Row[]; add(row: unknown[], fields: readonly pg.FieldDef[]): void } {
  const rows: Row[] = [];
  let bytes = 0;
  return {
    rows,
    add(row, fields) {
      if (rows.length === maxRows) throw new AnswerTooLarge(`the query gives more than ${maxRows} rows (maxRows)`);
      const names = fields.map(({ name }) => name);
      const twice = names.find((name, index) => names.indexOf(name) !== index);
      if (twice !== undefined) throw new AnswerUnclear(`two columns are called "${twice}"; name one of them with AS`);
      const object = Object.fromEntries(names.map((name, index) => [name, row[index]]));
      bytes += sizeOf(object);
      if (bytes > MAX_OUTPUT_BYTES)
        throw new AnswerTooLarge(
          `the rows have more than ${MAX_OUTPUT_BYTES} bytes as JSON, which is what an output may have`,
        );
      rows.push(object);
    },
  };
}

function sizeOf(row: Row): number {
  try {
    return Buffer.byteLength(JSON.stringify(row)) + 1;
  } catch (error) {
    throw new AnswerUnclear(`a row cannot be written as JSON: ${messageOf(error)}`);
  }
}
