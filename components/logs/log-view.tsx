import { memo, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Button } from "#components/ui/button.tsx";
import { cn } from "#components/ui/cn.ts";
import type { LogLevel } from "#lib/domain/log-lines/level-words.ts";
import { ansiSpans } from "./ansi.ts";
import { linesAtLeast, type LogLine, type LogLines, type Stream } from "./log-lines.ts";

/** This near the end counts as the end. */
const END_PX = 24;

type Props = { log: LogLines; least: LogLevel | undefined; empty: string };

/** The lines from a level on; it stays at the end until somebody scrolls up. */
export function LogView({ log, least, empty }: Props) {
  const shown = useMemo(() => linesAtLeast(log, least), [log, least]);
  const box = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);
  useLayoutEffect(() => {
    if (following && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [following, shown]);
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
        {log.lines.length > 0 && shown.length === 0 ? (
          <p className="px-3 text-log-soft">No line is as grave as that. Choose All to see the others.</p>
        ) : null}
        {shown.map((line) => (
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

const LEVEL_LOOKS: Partial<Record<LogLevel, string>> = {
  error: "border-log-err bg-log-err/10",
  warn: "border-log-warn bg-log-warn/10",
  debug: "text-log-soft",
};

const MARKS: Record<Stream, string> = { stdout: "", stderr: "err", system: "sys" };

const Line = memo(function Line({ line }: { line: LogLine }) {
  return (
    <div
      data-stream={line.stream}
      data-level={line.level}
      className={cn(
        "grid grid-cols-[3.25rem_2rem_1fr] border-l-2 border-transparent pr-3 hover:bg-white/5 [contain-intrinsic-size:auto_1.25rem] [content-visibility:auto]",
        line.stream === "system" && "text-log-soft italic",
        line.level !== undefined && LEVEL_LOOKS[line.level],
      )}
    >
      <span aria-hidden className="pr-2 text-right text-log-soft tabular-nums select-none">
        {line.number}
      </span>
      <span className="text-log-soft select-none">{MARKS[line.stream]}</span>
      <span className="min-w-0 break-words whitespace-pre-wrap">
        {ansiSpans(line.text).map((span, index) => (
          // The pieces of a line have no identity beyond their place.
          <span key={index} className={span.className}>
            {span.text}
          </span>
        ))}
        {line.cut > 0 ? (
          <span className="text-log-soft italic">
            {" "}
            … {line.cut.toLocaleString("en")} more characters in the whole log
          </span>
        ) : null}
      </span>
    </div>
  );
});
