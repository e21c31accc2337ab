"use client";

import { Play } from "lucide-react";
import { useRouter } from "next/navigation";
import { type ReactNode, type SubmitEvent, useState, useTransition } from "react";
import { postToDag } from "#components/dag/post-to-dag.ts";
import { Alert } from "#components/ui/alert.tsx";
import { Button } from "#components/ui/button.tsx";
import { formText } from "#components/ui/form-text.ts";
import { useHydrated } from "#components/ui/use-hydrated.ts";
import type { DagDetail } from "#lib/contract/dags.ts";
import { MAX_DUE } from "#lib/domain/schedule/due-in-pause.ts";

/** Lets a DAG go on; what was due in the pause is asked about only when something was. */
export function UnpauseForm({ dagId, due }: { dagId: string; due: DagDetail["dueInPause"] }) {
  const router = useRouter();
  const hydrated = useHydrated();
  const [isBusy, begin] = useTransition();
  const [problem, setProblem] = useState<string>();
  const submit = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const catchUp = formText(new FormData(event.currentTarget), "after") === "catch-up";
    begin(async () => {
      const result = await postToDag(dagId, "unpause", { catchUp });
      setProblem(result.ok ? undefined : result.message);
      router.refresh();
    });
  };
  return (
    <form onSubmit={submit} className="grid gap-2">
      {problem === undefined ? null : <Alert>{problem}</Alert>}
      {due === null || due.runs === 0 ? null : <Choice runs={due.runs} madeUp={due.madeUp} />}
      <Button type="submit" disabled={!hydrated || isBusy} aria-busy={isBusy} className="justify-self-start">
        <Play aria-hidden className="fill-current" />
        Unpause
      </Button>
    </form>
  );
}

function Choice({ runs, madeUp }: { runs: number; madeUp: number }) {
  const least = runs >= MAX_DUE ? "At least " : "";
  const what = `${least}${countOf(runs)} due in the pause`;
  if (madeUp === 0)
    return (
      <p className="text-ink-soft">
        {what}; by the DAG's <code className="font-mono text-xs">catchup</code>, none of them starts.
      </p>
    );
  return (
    <fieldset className="grid gap-1">
      <legend className="pb-1">{what}.</legend>
      <Option value="from-now" name="Go on from now" defaultChecked>
        none of them starts
      </Option>
      <Option value="catch-up" name="Make up for the pause">
        {madeUp === runs
          ? "all of them start"
          : `${madeUp.toLocaleString("en")} of them ${madeUp === 1 ? "starts" : "start"}`}
        , by the DAG's <code className="font-mono text-xs">catchup</code>
      </Option>
    </fieldset>
  );
}

const countOf = (runs: number): string => (runs === 1 ? "1 run was" : `${runs.toLocaleString("en")} runs were`);

type OptionProps = { value: string; name: string; defaultChecked?: boolean; children: ReactNode };

function Option({ value, name, defaultChecked = false, children }: OptionProps) {
  return (
    <label className="flex items-baseline gap-2">
      <input
        type="radio"
        name="after"
        value={value}
        defaultChecked={defaultChecked}
        className="translate-y-0.5 accent-accent"
      />
      <span>
        {name} <span className="text-ink-soft">– {children}</span>
      </span>
    </label>
  );
}
