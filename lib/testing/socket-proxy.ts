import { rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";

/** What happens to the first call whose method and path match: nothing of it goes on, or nothing of its answer comes back. */
export type Hold = { call: RegExp; side: "request" | "answer" };

/**
 * Stands between a client and a server that has a connection for each call, and holds one call back or cuts it off at the
 * moment that a test is about.
 */
export type SocketProxy = {
  host: string;
  /** Resolves when the call is there and held. */
  hold(hold: Hold): Promise<Held>;
  /** First lines of all calls so far. */
  calls: string[];
  stop(): Promise<void>;
};

export type Held = { release(): void; cut(): void };

export async function startSocketProxy(socket: string, upstream: string): Promise<SocketProxy> {
  const sockets = new Set<Socket>();
  const calls: string[] = [];
  let waiting: { hold: Hold; arrived(held: Held): void } | undefined;

  /** The hold for this call, if it is the one; used up. */
  const taken = (line: string, side: Hold["side"]): ((held: Held) => void) | undefined => {
    if (waiting === undefined || waiting.hold.side !== side || !waiting.hold.call.test(line)) return undefined;
    const { arrived } = waiting;
    waiting = undefined;
    return arrived;
  };

  const server = createServer({ allowHalfOpen: true }, (client) => {
    sockets.add(client);
    client.on("error", () => undefined);
    client.once("data", (first: Buffer) => {
      const line = first.toString("latin1").split("\r\n")[0]!;
      calls.push(line);
      client.pause();
      const engine = connect({ path: upstream, allowHalfOpen: true });
      sockets.add(engine);
      engine.on("error", () => client.destroy());
      client.on("close", () => engine.destroy());
      engine.on("close", () => client.destroy());
      const cut = (): void => void client.destroy();
      const forward = (): void => {
        engine.write(first);
        client.pipe(engine);
      };
      const answer = (bytes: Buffer): void => {
        client.write(bytes);
        engine.pipe(client);
      };
      const heldRequest = taken(line, "request");
      if (heldRequest !== undefined) heldRequest({ release: forward, cut });
      else forward();
      engine.once("data", (bytes: Buffer) => {
        const heldAnswer = taken(line, "answer");
        if (heldAnswer === undefined) return answer(bytes);
        engine.pause();
        heldAnswer({ release: () => answer(bytes), cut });
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    host: `unix://${socket}`,
    calls,
    hold: (hold) => new Promise((arrived) => void (waiting = { hold, arrived })),
    async stop() {
      for (const one of sockets) one.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rm(socket, { force: true });
    },
  };
}
