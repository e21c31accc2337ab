import { once } from "node:events";
import { createServer } from "node:net";
import { StartupError } from "./startup-error.ts";

/** Throws when the web server could not listen, before anything is started for it. */
export async function assertPortFree(host: string, port: number): Promise<void> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (cause) {
    throw new StartupError(explain(host, port, cause), { cause });
  }
  server.close();
  await once(server, "close");
}

function explain(host: string, port: number, error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  if (code === "EADDRINUSE")
    return `Port ${port} on ${host} is in use: stop the program that holds it, or set PORT to another one`;
  if (code === "EACCES") return `Port ${port} on ${host} is not allowed for this user: set PORT to one above 1023`;
  return `Port ${port} on ${host} cannot be used (${code}): check HOST and PORT`;
}
