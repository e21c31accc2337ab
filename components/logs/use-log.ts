import { useEffect, useRef, useState } from "react";
import { type Connection, useEventSource } from "#components/run/use-event-source.ts";
import type { Attempt, LogChunk, LogEnd } from "#lib/contract/task-instances.ts";
import { appendChunks, type LogLines, NO_LINES } from "./log-lines.ts";

/** Chunks that come closer together than this are drawn at once. */
const DRAW_MS = 50;

export type Log = { lines: LogLines; connection: Connection; ended: LogEnd | undefined };

/** Follows one attempt's log. Mount it anew (by `key`) for another attempt. */
export function useLog(taskInstanceId: string, attempt: number): Log {
  const [lines, setLines] = useState(NO_LINES);
  const [ended, setEnded] = useState<{ attempt: Attempt | null }>();
  const lastSeq = useRef(-1);
  const pending = useRef<LogChunk[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const draw = (): void => {
    timer.current = undefined;
    const chunks = pending.current;
    pending.current = [];
    setLines((before) => appendChunks(before, chunks));
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  const connection = useEventSource(`/api/v1/task-instances/${taskInstanceId}/logs?attempt=${attempt}&follow=true`, {
    events: {
      chunk: (data) => {
        const chunk = data as LogChunk;
        // A stream opened anew (a tab that was hidden) starts from the beginning.
        if (chunk.seq <= lastSeq.current) return "more";
        lastSeq.current = chunk.seq;
        pending.current.push(chunk);
        timer.current ??= setTimeout(draw, DRAW_MS);
        return "more";
      },
      end: (data) => {
        setEnded(data as LogEnd);
        return "over";
      },
    },
  });
  return { lines, connection, ended };
}
