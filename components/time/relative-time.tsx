"use client";

import { formatClock, formatDistance } from "./format.ts";
import { useNowMs } from "./use-now.ts";

/** As long as nobody can be late: starting a run and asking again take their time. */
const ON_TIME_MS = 10_000;

type Props = {
  at: string;
  /** The same moment as clocks of `timezone` show it. */
  local: string;
  timezone: string;
  serverNow: string;
};

/** How long until a moment, counting; the pointer shows it in its zone and in UTC. */
export function RelativeTime({ at, local, timezone, serverNow }: Props) {
  const ms = Date.parse(at) - useNowMs(serverNow, 1_000);
  const title = `${formatClock(local)} ${timezone}${timezone === "UTC" ? "" : `, ${formatClock(at)} UTC`}`;
  return (
    <time dateTime={at} title={title} className="whitespace-nowrap tabular-nums">
      {ms <= -ON_TIME_MS ? (
        <span className="text-danger">due {formatDistance(-ms)} ago</span>
      ) : ms < 1_000 ? (
        "now"
      ) : (
        `in ${formatDistance(ms)}`
      )}
    </time>
  );
}
