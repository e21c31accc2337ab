import { once } from "node:events";
import { createServer } from "node:net";

const POSTGRES_DEFAULT_PORT = 5432;

/** `preferred` when it is free, else any free port; never the one a Postgres of the machine would take. */
export async function choosePort(preferred: number | undefined): Promise<number> {
  if (preferred !== undefined && preferred !== POSTGRES_DEFAULT_PORT && (await tryPort(preferred)) !== undefined)
    return preferred;
  for (;;) {
    const port = await tryPort(0);
    if (port !== undefined && port !== POSTGRES_DEFAULT_PORT) return port;
  }
}

async function tryPort(port: number): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : undefined;
  } catch {
    return undefined;
  } finally {
    server.close();
    if (server.listening) await once(server, "close");
  }
}
