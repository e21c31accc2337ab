import Link from "next/link";
import type { ReactNode } from "react";
import { StateBadge } from "#components/state/state-badge.tsx";
import { TriggerKind } from "#components/state/trigger-kind.tsx";
import { Duration } from "#components/time/duration.tsx";
import { Time } from "#components/time/time.tsx";
import type { DagRun } from "#lib/contract/dag-runs.ts";
import { actionSentence } from "#lib/domain/why.ts";
import { ConnectionDot } from "./connection-dot.tsx";
import type { Connection } from "./use-event-source.ts";

type Props = { run: DagRun; connection: Connection; serverNow: string };

/** What run this is and how it stands. */
export function RunHeader({ run, connection, serverNow }: Props) {
  return (
    <header className="grid gap-3">
      <div className="flex flex-wrap items-center gap-3">
        <h1 className="text-xl font-semibold tracking-tight">
          <Link href={`/dags/${run.dagId}`} className="hover:underline">
            {run.dagId}
          </Link>{" "}
          <span className="font-normal text-ink-soft tabular-nums">#{run.id}</span>
        </h1>
        <StateBadge state={run.state} data-testid="run-state" role="status" />
        <ConnectionDot connection={connection} />
      </div>
      {run.action === null ? null : (
        <p role="status" data-testid="run-action" className="text-ink-soft">
          {actionSentence(run.action)}
        </p>
      )}
      <dl className="flex flex-wrap gap-x-8 gap-y-2">
        <Fact name="Started by">
          <span className="inline-flex gap-2">
            <TriggerKind kind={run.triggerKind} /> {run.actor}
          </span>
        </Fact>
        <Fact name="Duration">
          <Duration startedAt={run.startedAt} endedAt={run.endedAt} serverNow={serverNow} />
        </Fact>
        <Fact name="Started (UTC)">
          <Time at={run.startedAt} />
        </Fact>
        <Fact name="Ended (UTC)">
          <Time at={run.endedAt} />
        </Fact>
        <Fact name="Logical date (UTC)">
          <Time at={run.logicalDate} />
        </Fact>
        {run.intervalStart === run.intervalEnd ? null : (
          <Fact name="Interval (UTC)">
            <Time at={run.intervalStart} /> – <Time at={run.intervalEnd} />
          </Fact>
        )}
        <Fact name="Version">v{run.version}</Fact>
        {run.backfillId === null ? null : <Fact name="Backfill">{run.backfillId}</Fact>}
        {run.note === null ? null : <Fact name="Note">{run.note}</Fact>}
      </dl>
      {Object.keys(run.conf).length === 0 ? null : (
        <details className="text-ink-soft">
          <summary>conf</summary>
          <pre className="mt-1 overflow-x-auto rounded-md bg-sunken p-3 font-mono text-xs text-ink">
            {JSON.stringify(run.conf, null, 2)}
          </pre>
        </details>
      )}
    </header>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="min-w-0">
      <dt className="text-xs text-ink-soft">{name}</dt>
      <dd className="break-words">{children}</dd>
    </div>
  );
}
