"use client";

import { formText } from "#components/ui/form-text.ts";
import { Braces } from "lucide-react";
import { type SubmitEvent, useRef, useState } from "react";
import { Alert } from "#components/ui/alert.tsx";
import { Button } from "#components/ui/button.tsx";
import { Textarea } from "#components/ui/input.tsx";
import { Label } from "#components/ui/label.tsx";
import { useHydrated } from "#components/ui/use-hydrated.ts";
import { parseConf } from "./parse-conf.ts";
import { useTrigger } from "./use-trigger.ts";

/** Starts a run with a `conf` of one's own. */
export function ConfDialog({ dagId, disabled }: { dagId: string; disabled: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const hydrated = useHydrated();
  const trigger = useTrigger(dagId);
  const [mistake, setMistake] = useState<string>();
  const submit = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const conf = parseConf(formText(new FormData(event.currentTarget), "conf"));
    setMistake(conf.ok ? undefined : conf.message);
    if (conf.ok) void trigger.start(conf.conf);
  };
  const problem = mistake ?? trigger.problem;
  return (
    <>
      <Button variant="outline" disabled={!hydrated || disabled} onClick={() => dialog.current?.showModal()}>
        <Braces aria-hidden />
        With conf…
      </Button>
      <dialog
        ref={dialog}
        aria-labelledby="conf-title"
        className="m-auto w-[min(34rem,calc(100vw-2rem))] rounded-lg border border-line bg-surface p-0 text-ink shadow-xl backdrop:bg-black/50"
      >
        <form className="grid gap-3 p-4" onSubmit={submit}>
          <h2 id="conf-title" className="text-base font-semibold">
            Start {dagId} with conf
          </h2>
          {problem === undefined ? null : <Alert>{problem}</Alert>}
          <div className="grid gap-1.5">
            <Label htmlFor="conf">A JSON object, handed to every task of the run</Label>
            <Textarea id="conf" name="conf" rows={9} spellCheck={false} defaultValue={"{\n  \n}"} />
          </div>
          <div className="flex justify-end gap-2">
            <Button variant="ghost" onClick={() => dialog.current?.close()}>
              Close
            </Button>
            <Button type="submit" disabled={trigger.busy}>
              Start run
            </Button>
          </div>
        </form>
      </dialog>
    </>
  );
}
