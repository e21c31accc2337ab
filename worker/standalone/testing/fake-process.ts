import { createLogger } from "#lib/obs/log.ts";
import { runProcess } from "../../lifecycle.ts";

// A process as scheduler and worker are: it says on stderr, which the test keeps open, that it has stopped.
await runProcess(
  "fake",
  async () => ({
    services: ["first", "second"].map((name) => ({
      name,
      start: async () => undefined,
      stop: async (reason) => void process.stderr.write(`${name} stopped: ${reason}\n`),
    })),
  }),
  createLogger({ level: "info", component: "fake" }),
);
