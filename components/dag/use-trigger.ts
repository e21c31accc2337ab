import { useRouter } from "next/navigation";
import { useState } from "react";
import { triggerRun } from "./trigger-run.ts";

export type Trigger = {
  busy: boolean;
  problem: string | undefined;
  start: (conf?: Record<string, unknown>) => Promise<void>;
};

/** Starts a run and goes to its page. */
export function useTrigger(dagId: string): Trigger {
  const router = useRouter();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();
  const start = async (conf?: Record<string, unknown>): Promise<void> => {
    setBusy(true);
    setProblem(undefined);
    const result = await triggerRun(dagId, conf);
    if (result.ok) {
      router.push(`/runs/${result.runId}`);
      return;
    }
    setProblem(result.message);
    setBusy(false);
  };
  return { busy, problem, start };
}
