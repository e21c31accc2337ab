"use client";

import { Pause, Play } from "lucide-react";
import { useRouter } from "next/navigation";
import { startTransition, useOptimistic, useState, useTransition } from "react";
import { postToDag } from "#components/dag/post-to-dag.ts";
import { Bubble } from "#components/ui/bubble.tsx";
import { cn } from "#components/ui/cn.ts";
import { useHydrated } from "#components/ui/use-hydrated.ts";

type Props = { dagId: string; paused: boolean; title: string };

/** Pauses a DAG and lets it go on, without a question; shown at once, and taken back when it did not work. */
export function PauseToggle({ dagId, paused, title }: Props) {
  const router = useRouter();
  const hydrated = useHydrated();
  const [isPaused, showPaused] = useOptimistic(paused);
  const [isBusy, begin] = useTransition();
  const [problem, setProblem] = useState<string>();
  const toggle = (): void => {
    // Not disabled meanwhile: that would take the focus away.
    if (isBusy) return;
    begin(async () => {
      showPaused(!paused);
      const result = await postToDag(dagId, paused ? "unpause" : "pause", {});
      startTransition(() => {
        setProblem(result.ok ? undefined : result.message);
        router.refresh();
      });
    });
  };
  const Icon = isPaused ? Pause : Play;
  return (
    <span className="relative inline-flex align-middle">
      <button
        type="button"
        role="switch"
        aria-checked={!isPaused}
        aria-label={`${dagId} is active`}
        aria-busy={isBusy}
        title={title}
        disabled={!hydrated}
        onClick={toggle}
        className={cn(
          "relative h-6 w-10 rounded-full border transition-colors disabled:opacity-60",
          isPaused ? "border-line-strong bg-sunken" : "border-accent bg-accent",
        )}
      >
        <span
          className={cn(
            "absolute top-1/2 left-0.5 flex size-4.5 -translate-y-1/2 items-center justify-center rounded-full shadow-sm transition-transform",
            isPaused ? "bg-ink-soft text-surface" : "translate-x-4 bg-accent-ink text-accent",
          )}
        >
          <Icon aria-hidden className="size-2.5 fill-current" />
        </span>
      </button>
      {problem === undefined ? null : <Bubble side="left">{problem}</Bubble>}
    </span>
  );
}
