import { CirclePause } from "lucide-react";
import { Time } from "#components/time/time.tsx";
import type { DagDetail } from "#lib/contract/dags.ts";
import { UnpauseForm } from "./unpause-form.tsx";

/** Nothing happens, who wished so and since when, and how it goes on. */
export function PausedBanner({ dag }: { dag: DagDetail }) {
  if (!dag.paused) return null;
  return (
    <section
      aria-label="Paused"
      className="flex flex-wrap items-start justify-between gap-x-8 gap-y-3 rounded-lg border border-deferred/40 bg-deferred/8 p-3"
    >
      <div className="flex min-w-0 items-start gap-2">
        <CirclePause aria-hidden className="mt-0.5 size-4 shrink-0 text-deferred" />
        <div className="grid min-w-0 gap-0.5">
          <p className="font-medium">
            Paused since <Time at={dag.pausedAt} /> UTC by {dag.pausedBy}
          </p>
          <p className="text-ink-soft">
            No schedule fires and no task starts. What runs goes on to its end, and so do backfills.
          </p>
        </div>
      </div>
      <UnpauseForm dagId={dag.id} due={dag.dueInPause} />
    </section>
  );
}
