import type { WebDeps } from "#lib/boot.ts";
import { levelFilter } from "#lib/domain/log-lines/level-filter.ts";
import type { LogLevel } from "#lib/domain/log-lines/level-words.ts";

/**
 * An attempt's log so far, byte for byte; read page by page as fast as the reader takes it. With `least`, only its lines
 * that are at least as grave.
 */
export function wholeLog(
  deps: Pick<WebDeps, "engine">,
  attempt: { taskInstanceId: string; number: number },
  least: LogLevel | undefined,
): Response {
  const filter = least === undefined ? undefined : levelFilter(least);
  let seq = -1;
  const bytes = new ReadableStream<Uint8Array>({
    async pull(controller) {
      // Asked again only when something came of it: a page of which nothing passes is not the last one.
      for (let given = 0; given === 0;) {
        const rows = await deps.engine.logs.read(attempt, seq);
        const last = rows.at(-1);
        const passing = rows.flatMap(({ stream, chunk }) => filter?.write(stream, chunk) ?? [chunk]);
        if (last === undefined) passing.push(...(filter?.end() ?? []));
        for (const piece of passing) controller.enqueue(piece);
        if (last === undefined) return controller.close();
        seq = last.seq;
        given = passing.length;
      }
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
