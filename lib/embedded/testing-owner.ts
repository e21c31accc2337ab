import { startEmbeddedPostgres, type EmbeddedPostgresOptions } from "./start.ts";

// A process of its own that a test can kill: it owns a server and says which.
const options = JSON.parse(process.argv[2] ?? "") as EmbeddedPostgresOptions;
const server = await startEmbeddedPostgres(options);
console.log(JSON.stringify({ pid: server.pid, port: server.port }));
