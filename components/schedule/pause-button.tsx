"use client";

import { Pause } from "lucide-react";
import { useRouter } from "next/navigation";
import { useState, useTransition } from "react";
import { postToDag } from "#components/dag/post-to-dag.ts";
import { Bubble } from "#components/ui/bubble.tsx";
import { Button } from "#components/ui/button.tsx";
import { useHydrated } from "#components/ui/use-hydrated.ts";

/** Pauses a DAG from its page, which then says how it goes on. */
export function PauseButton({ dagId }: { dagId: string }) {
  const router = useRouter();
  const hydrated = useHydrated();
  const [isBusy, begin] = useTransition();
  const [problem, setProblem] = useState<string>();
  const pause = (): void =>
    begin(async () => {
      const result = await postToDag(dagId, "pause", {});
      setProblem(result.ok ? undefined : result.message);
      router.refresh();
    });
  return (
    <span className="relative inline-flex">
      <Button variant="outline" disabled={!hydrated || isBusy} aria-busy={isBusy} onClick={pause}>
        <Pause aria-hidden className="fill-current" />
        Pause
      </Button>
      {problem === undefined ? null : <Bubble>{problem}</Bubble>}
    </span>
  );
}
