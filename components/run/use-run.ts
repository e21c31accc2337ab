import { useState } from "react";
import type { RunChange, RunSnapshot } from "#lib/contract/dag-runs.ts";
import { isFinalRunState } from "#lib/domain/states.ts";
import { applyChange } from "./run-state.ts";
import { type Connection, useEventSource } from "./use-event-source.ts";

/** A run as the server rendered it, then as its event stream says. */
export function useRun(initial: RunSnapshot): { snapshot: RunSnapshot; connection: Connection } {
  const [snapshot, setSnapshot] = useState(initial);
  const final = isFinalRunState(snapshot.run.state);
  // A run that had ended when the page was made has nothing to stream.
  const url = isFinalRunState(initial.run.state) ? undefined : `/api/v1/dag-runs/${initial.run.id}/events`;
  const verdict = (run: RunSnapshot["run"] | undefined): "more" | "over" =>
    run !== undefined && isFinalRunState(run.state) ? "over" : "more";
  const connection = useEventSource(url, {
    events: {
      snapshot: (data) => {
        const whole = data as RunSnapshot;
        setSnapshot(whole);
        return verdict(whole.run);
      },
      change: (data) => {
        const change = data as RunChange;
        setSnapshot((before) => applyChange(before, change));
        return verdict(change.run);
      },
    },
  });
  return { snapshot, connection: final ? "over" : connection };
}
