import { RelativeTime } from "#components/time/relative-time.tsx";
import type { Dag } from "#lib/contract/dags.ts";
import type { NextRun as Run } from "#lib/contract/schedules.ts";

type Props = { dag: Pick<Dag, "paused" | "missing">; run: Run | null; serverNow: string; isNamed?: boolean };

/** When the next run starts, or in two words why none does. `isNamed` says what it is, where nothing around it does. */
export function NextRun({ dag, run, serverNow, isNamed = false }: Props) {
  if (dag.missing) return <span>file is gone</span>;
  if (dag.paused) return <span>paused</span>;
  if (run === null) return <span>never due again</span>;
  const { at, local, timezone } = run;
  return (
    <span>
      {isNamed ? "next run " : null}
      <RelativeTime at={at} local={local} timezone={timezone} serverNow={serverNow} />
    </span>
  );
}
