import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterEach, expect, test } from "vitest";
import { runQuery } from "./sql-query.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A server that sends these bytes to each client once it has heard from it. */
async function answering(...pieces: Buffer[]): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => pieces.forEach((piece) => socket.write(piece)));
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** A message of the protocol, with another length where one is given. */
function message(type: string, payload: Buffer, length = payload.length + 4): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, "latin1");
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, payload]);
}

const OK = message("R", Buffer.alloc(4));
const READY = message("Z", Buffer.from("I"));

async function failure(...pieces: Buffer[]): Promise<unknown> {
  const port = await answering(...pieces);
  const address = {
    host: "127.0.0.1",
    port,
    user: "u",
    password: "p",
    database: "d",
    options: "",
    ssl: false as const,
  };
  const options = { name: "t", timeoutMs: 60_000, signal: new AbortController().signal, onNotice: () => undefined };
  return runQuery(address, { text: "select 1", values: [], maxRows: 1 }, options).then(
    () => "it went well",
    (error: unknown) => String(error),
  );
}

// A throw in the driver's listener would fail this file as an uncaught exception, as it ended workers.
test.each([
  ["a row with no columns' count", [message("D", Buffer.alloc(0))]],
  ["such a row after the log-in", [OK, READY, message("D", Buffer.alloc(0))]],
  ["a short key of the session", [OK, message("K", Buffer.alloc(1)), READY]],
  ["a length that is less than itself", [message("R", Buffer.alloc(0), 0)]],
  ["a length of gigabytes", [OK, READY, message("D", Buffer.alloc(10), 2 ** 31)]],
  ["the same in pieces of one byte", [...message("D", Buffer.alloc(10), 2 ** 31)].map((byte) => Buffer.from([byte]))],
  ["the words of another protocol", [Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")]],
])("a server that sends %s fails its query and nothing else", async (_, pieces) => {
  expect(await failure(...pieces)).toMatch(/what is no answer of Postgres|connection error and is not queryable/);
});
