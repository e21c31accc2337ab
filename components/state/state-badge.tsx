import type { ComponentProps } from "react";
import { cn } from "#components/ui/cn.ts";
import type { RunState, TaskState } from "#lib/domain/states.ts";
import { STATE_LOOKS } from "./state-looks.ts";

type State = RunState | TaskState;

/** A state's icon in its colour; the word must stand beside it. */
export function StateIcon({ state, className }: { state: State; className?: string }) {
  const look = STATE_LOOKS[state];
  return (
    <look.icon aria-hidden className={cn("size-4 shrink-0", look.text, look.moving && "animate-spin", className)} />
  );
}

/** Icon and word without a frame, for tables. */
export function StateWord({ state }: { state: State }) {
  const look = STATE_LOOKS[state];
  return (
    <span className={cn("inline-flex items-center gap-1.5 align-middle font-medium whitespace-nowrap", look.text)}>
      <StateIcon state={state} />
      {look.word}
    </span>
  );
}

/** Icon and word as a pill, for headings. */
export function StateBadge({ state, className, ...props }: { state: State } & ComponentProps<"span">) {
  const look = STATE_LOOKS[state];
  return (
    <span
      className={cn(
        "inline-flex h-7 items-center gap-1.5 rounded-full border px-2.5 font-medium",
        look.text,
        look.soft,
        look.border,
        className,
      )}
      {...props}
    >
      <StateIcon state={state} />
      {look.word}
    </span>
  );
}
