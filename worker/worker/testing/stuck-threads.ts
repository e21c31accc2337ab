/** Preloaded into a process, as `…/stuck-threads.ts?fifo=PATH`: SIGUSR2 has each thread of its pool wait for a writer of that FIFO. */
import { open } from "node:fs";

const THREADS = 4;
const fifo = new URL(import.meta.url).searchParams.get("fifo")!;
process.on("SIGUSR2", () => {
  for (let n = 0; n < THREADS; n++) open(fifo, "r", () => undefined);
});
