import { useEffect, useMemo, useState } from "react";
import { fromElk, type GraphTask, type Layout, quickLayout, toElk } from "./layout.ts";

/** The graph's layout: a quick one at once, ELK's when its code has arrived and it is done. */
export function useLayout(tasks: readonly GraphTask[]): { layout: Layout; settled: boolean } {
  const quick = useMemo(() => quickLayout(tasks), [tasks]);
  const [done, setDone] = useState<{ tasks: readonly GraphTask[]; layout: Layout }>();
  useEffect(() => {
    let wanted = true;
    const apply = (layout: Layout): void => {
      if (wanted) setDone({ tasks, layout });
    };
    // Where ELK cannot run, the quick layout stays; the graph is never missing.
    elkLayout(tasks).then(apply, () => apply(quick));
    return () => {
      wanted = false;
    };
  }, [tasks, quick]);
  return done?.tasks === tasks ? { layout: done.layout, settled: true } : { layout: quick, settled: false };
}

async function elkLayout(tasks: readonly GraphTask[]): Promise<Layout> {
  const { default: Elk } = await import("elkjs/lib/elk.bundled.js");
  return fromElk(await new Elk().layout(toElk(tasks)));
}
