"use client";

import { Play } from "lucide-react";
import { Bubble } from "#components/ui/bubble.tsx";
import { Button } from "#components/ui/button.tsx";
import { useHydrated } from "#components/ui/use-hydrated.ts";
import { useTrigger } from "./use-trigger.ts";

type Props = { dagId: string; name: string; compact?: boolean; disabled?: boolean };

/** Starts a run without further questions. `name` is what assistive technology calls it. */
export function TriggerButton({ dagId, name, compact = false, disabled = false }: Props) {
  const hydrated = useHydrated();
  const { busy, problem, start } = useTrigger(dagId);
  return (
    <span className="relative inline-flex flex-col items-end">
      <Button
        aria-label={name}
        aria-busy={busy}
        variant={compact ? "outline" : "primary"}
        size={compact ? "sm" : "md"}
        disabled={!hydrated || busy || disabled}
        onClick={() => void start()}
      >
        <Play aria-hidden className="fill-current" />
        <span className={compact ? "max-sm:sr-only" : undefined}>Trigger</span>
      </Button>
      {problem === undefined ? null : <Bubble>{problem}</Bubble>}
    </span>
  );
}
