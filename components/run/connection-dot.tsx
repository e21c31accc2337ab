import { cn } from "#components/ui/cn.ts";
import type { Connection } from "./use-event-source.ts";

const LOOKS: Record<Connection, { word: string; dot: string }> = {
  live: { word: "Live", dot: "bg-success" },
  connecting: { word: "Reconnecting", dot: "bg-retrying animate-pulse" },
  paused: { word: "Paused", dot: "bg-waiting" },
  over: { word: "Final", dot: "bg-line-strong" },
};

/** Whether what is shown is what is. */
export function ConnectionDot({ connection }: { connection: Connection }) {
  const { word, dot } = LOOKS[connection];
  return (
    <span role="status" className="inline-flex items-center gap-1.5 text-xs text-ink-soft">
      <span aria-hidden className={cn("size-2 rounded-full", dot)} />
      {word}
    </span>
  );
}
