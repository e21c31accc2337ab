import type { WebDeps } from "#lib/boot.ts";

/** An attempt's log so far, byte for byte; read page by page as fast as the reader takes it. */
export function wholeLog(deps: WebDeps, attempt: { taskInstanceId: string; number: number }): Response {
  let seq = -1;
  const bytes = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const rows = await deps.engine.logs.read(attempt, seq);
      for (const row of rows) controller.enqueue(row.chunk);
      const last = rows.at(-1);
      if (last === undefined) controller.close();
      else seq = last.seq;
    },
  });
  return new Response(bytes, {
    // The log is a program's output: `nosniff` keeps a browser from reading it as a page.
    headers: {
      "content-type": "text/plain; charset=utf-8",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    },
  });
}
