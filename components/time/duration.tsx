"use client";

import { formatDuration, spanMs } from "./format.ts";
import { useNowMs } from "./use-now.ts";

type Props = { startedAt: string | null; endedAt: string | null; serverNow: string };

/** How long something took; while it has no end, it counts. */
export function Duration({ startedAt, endedAt, serverNow }: Props) {
  if (startedAt === null) return <span className="text-ink-soft">–</span>;
  if (endedAt !== null) return <Text ms={spanMs(startedAt, endedAt, 0)} />;
  return <Ticking startedAt={startedAt} serverNow={serverNow} />;
}

function Ticking({ startedAt, serverNow }: { startedAt: string; serverNow: string }) {
  return <Text ms={spanMs(startedAt, null, useNowMs(serverNow))} />;
}

function Text({ ms }: { ms: number }) {
  return <span className="whitespace-nowrap tabular-nums">{formatDuration(ms)}</span>;
}
