import { memo, useLayoutEffect, useRef, useState } from "react";
import { Button } from "#components/ui/button.tsx";
import { cn } from "#components/ui/cn.ts";
import { ansiSpans } from "./ansi.ts";
import type { LogLine, LogLines, Stream } from "./log-lines.ts";

/** This near the end counts as the end. */
const END_PX = 24;

/** The lines; it stays at the end until somebody scrolls up. */
export function LogView({ log, empty }: { log: LogLines; empty: string }) {
  const box = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);
  useLayoutEffect(() => {
    if (following && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [following, log]);
  const onScroll = (): void => {
    const { scrollHeight, scrollTop, clientHeight } = box.current!;
    setFollowing(scrollHeight - scrollTop - clientHeight < END_PX);
  };
  const hidden = log.total - log.lines.length;
  return (
    <div className="relative bg-log-ground text-log-ink">
      <div
        ref={box}
        role="log"
        aria-label="Log"
        aria-live="off"
        data-testid="log"
        tabIndex={0}
        onScroll={onScroll}
        className="max-h-[32rem] min-h-48 overflow-auto py-2 font-mono text-xs leading-5"
      >
        {hidden > 0 ? <p className="px-3 pb-1 text-log-soft">{hidden} earlier lines are in the whole log.</p> : null}
        {log.lines.length === 0 ? <p className="px-3 text-log-soft">{empty}</p> : null}
        {log.lines.map((line) => (
          <Line key={line.number} line={line} />
        ))}
      </div>
      {following ? null : (
        <Button size="sm" className="absolute right-4 bottom-3" onClick={() => setFollowing(true)}>
          Follow
        </Button>
      )}
    </div>
  );
}

const MARKS: Record<Stream, string> = { stdout: "", stderr: "err", system: "sys" };

const Line = memo(function Line({ line }: { line: LogLine }) {
  return (
    <div
      data-stream={line.stream}
      className={cn(
        "grid grid-cols-[3.25rem_2rem_1fr] border-l-2 border-transparent pr-3 hover:bg-white/5 [contain-intrinsic-size:auto_1.25rem] [content-visibility:auto]",
        line.stream === "stderr" && "border-log-err/70",
        line.stream === "system" && "text-log-soft italic",
      )}
    >
      <span aria-hidden className="pr-2 text-right text-log-soft tabular-nums select-none">
        {line.number}
      </span>
      <span className={cn("select-none", line.stream === "stderr" ? "text-log-err" : "text-log-soft")}>
        {MARKS[line.stream]}
      </span>
      <span className="min-w-0 break-words whitespace-pre-wrap">
        {ansiSpans(line.text).map((span, index) => (
          // The pieces of a line have no identity beyond their place.
          <span key={index} className={span.className}>
            {span.text}
          </span>
        ))}
      </span>
    </div>
  );
});
