import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A network between a process and its Postgres, which a test breaks. */
export type Network = {
  /** The database's address by way of it. */
  url: string;
  /** Ends all connections, and each new one as soon as it is there; resolves when so many have been tried. */
  refuse(times: number): Promise<void>;
  /** Nothing arrives any more and nobody is told, as when a cable is pulled or a firewall forgets. */
  silence(): void;
  /** What was underway arrives, and new connections work. */
  restore(): void;
  stop(): Promise<void>;
};

export async function startNetwork(databaseUrl: string): Promise<Network> {
  const upstream = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let state: "well" | "refusing" | "silent" = "well";
  let tried: (() => void) | undefined;

  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    if (state === "silent") socket.pause();
    return socket;
  };
  const join = (client: Socket): void => {
    if (state === "refusing") {
      client.destroy();
      return tried?.();
    }
    const server = keep(connect(Number(upstream.port), upstream.hostname));
    for (const [one, other] of [
      [keep(client), server],
      [server, client],
    ] as const) {
      one.on("data", (bytes: Buffer) => void other.write(bytes));
      one.on("end", () => other.end());
      one.on("close", () => other.destroy());
    }
    if (state === "silent") for (const one of [client, server]) one.pause();
  };

  const listening: Server = createServer({ allowHalfOpen: true }, join).listen(0, "127.0.0.1");
  await once(listening, "listening");
  const url = new URL(databaseUrl);
  url.port = String((listening.address() as { port: number }).port);
  return {
    url: url.href,
    async refuse(times) {
      state = "refusing";
      for (const socket of sockets) socket.destroy();
      for (let n = 0; n < times; n++) await new Promise<void>((resolve) => (tried = resolve));
    },
    silence() {
      state = "silent";
      for (const socket of sockets) socket.pause();
    },
    restore() {
      state = "well";
      for (const socket of sockets) socket.resume();
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      listening.close();
      await once(listening, "close");
    },
  };
}
