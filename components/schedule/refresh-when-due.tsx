"use client";

import { useRouter } from "next/navigation";
import { useEffect } from "react";
import { useNowMs } from "#components/time/use-now.ts";

/** By then its run has been made, when a scheduler is there. */
const AFTER_MS = 1_500;
/** No page is loaded more often, however often runs are due. */
const AT_MOST_EVERY_MS = 5_000;

/** Loads the page's data anew when the next run has started, so that no run that is past is called the next one. */
export function RefreshWhenDue({ at, serverNow }: { at: string; serverNow: string }) {
  const router = useRouter();
  const nowMs = useNowMs(serverNow, 1_000);
  const isDue = nowMs >= Math.max(Date.parse(at) + AFTER_MS, Date.parse(serverNow) + AT_MOST_EVERY_MS);
  useEffect(() => {
    if (!isDue) return undefined;
    const refresh = (): void => {
      if (document.visibilityState === "visible") router.refresh();
    };
    refresh();
    document.addEventListener("visibilitychange", refresh);
    return () => document.removeEventListener("visibilitychange", refresh);
  }, [isDue, router]);
  return null;
}
