import type pg from "pg";
import type { Duplex } from "node:stream";

/** Of one message of a server, a row among them: what a task may leave is a MiB. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** The type of a message in one byte, and its length in four, which count themselves. */
const HEAD_BYTES = 5;

/**
 * Makes what a server sends harmless to everybody else: a message that the driver cannot read, or that is too long, ends this connection with an
 * error. The driver reads in a listener of the socket, where a throw would end the process, and keeps a row of any length in memory.
 */
export function guardServer(client: pg.Client): void {
  // Both for plain and encrypted connections the driver begins to read here.
  const { connection } = client as unknown as { connection: { attachListeners(stream: Duplex): void } };
  const attach = connection.attachListeners.bind(connection);
  connection.attachListeners = (stream) => {
    const count = createCounter();
    const emit = stream.emit.bind(stream) as (event: string | symbol, ...args: unknown[]) => boolean;
    stream.emit = (event: string | symbol, ...args: unknown[]): boolean => {
      if (event !== "data") return emit(event, ...args);
      try {
        count(args[0] as Buffer);
        return emit(event, ...args);
      } catch (error) {
        stream.destroy(new Error(`the server sent what is no answer of Postgres: ${String(error)}`));
        return true;
      }
    };
    attach(stream);
  };
}

/** Throws at the head of a message that is too long, in whichever pieces it comes. */
function createCounter(): (bytes: Buffer) => void {
  /** Bytes of the message under way that are still to come, and what is there of the head of the next one. */
  let left = 0;
  let head = Buffer.alloc(0);
  return (bytes) => {
    for (let at = 0; at < bytes.length;) {
      if (left > 0) {
        const passed = Math.min(left, bytes.length - at);
        left -= passed;
        at += passed;
        continue;
      }
      const piece = bytes.subarray(at, at + HEAD_BYTES - head.length);
      head = Buffer.concat([head, piece]);
      at += piece.length;
      if (head.length < HEAD_BYTES) return;
      left = head.readUInt32BE(1) - 4;
      head = Buffer.alloc(0);
      if (left < 0 || left > MAX_MESSAGE_BYTES)
        throw new Error(`a message of ${left} bytes, where ${MAX_MESSAGE_BYTES} are the most`);
    }
  };
}
