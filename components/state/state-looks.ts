import {
  Ban,
  CircleCheck,
  CircleDashed,
  CircleDot,
  CirclePause,
  CircleX,
  Hourglass,
  Inbox,
  LoaderCircle,
  type LucideIcon,
  RotateCw,
  SkipForward,
  Unlink2,
} from "lucide-react";
import type { RunState, TaskState } from "#lib/domain/states.ts";

export type StateLook = {
  word: string;
  icon: LucideIcon;
  text: string;
  fill: string;
  soft: string;
  border: string;
  moving?: true;
};

/** How every state looks, everywhere: colour, icon and word. A state without a look does not compile. */
export const STATE_LOOKS: Record<RunState | TaskState, StateLook> = {
  waiting: {
    word: "Waiting",
    icon: CircleDashed,
    text: "text-waiting",
    fill: "bg-waiting",
    soft: "bg-waiting/8",
    border: "border-waiting/40",
  },
  ready: {
    word: "Ready",
    icon: CircleDot,
    text: "text-ready",
    fill: "bg-ready",
    soft: "bg-ready/8",
    border: "border-ready/40",
  },
  queued: {
    word: "Queued",
    icon: Inbox,
    text: "text-queued",
    fill: "bg-queued",
    soft: "bg-queued/8",
    border: "border-queued/40",
  },
  running: {
    word: "Running",
    icon: LoaderCircle,
    text: "text-running",
    fill: "bg-running",
    soft: "bg-running/8",
    border: "border-running/50",
    moving: true,
  },
  success: {
    word: "Success",
    icon: CircleCheck,
    text: "text-success",
    fill: "bg-success",
    soft: "bg-success/8",
    border: "border-success/40",
  },
  failed: {
    word: "Failed",
    icon: CircleX,
    text: "text-failed",
    fill: "bg-failed",
    soft: "bg-failed/8",
    border: "border-failed/50",
  },
  skipped: {
    word: "Skipped",
    icon: SkipForward,
    text: "text-skipped",
    fill: "bg-skipped",
    soft: "bg-skipped/8",
    border: "border-skipped/40",
  },
  upstream_failed: {
    word: "Upstream failed",
    icon: Unlink2,
    text: "text-upstream",
    fill: "bg-upstream",
    soft: "bg-upstream/8",
    border: "border-upstream/40",
  },
  cancelled: {
    word: "Cancelled",
    icon: Ban,
    text: "text-cancelled",
    fill: "bg-cancelled",
    soft: "bg-cancelled/8",
    border: "border-cancelled/40",
  },
  retrying: {
    word: "Retrying",
    icon: RotateCw,
    text: "text-retrying",
    fill: "bg-retrying",
    soft: "bg-retrying/8",
    border: "border-retrying/40",
  },
  deferred: {
    word: "Deferred",
    icon: CirclePause,
    text: "text-deferred",
    fill: "bg-deferred",
    soft: "bg-deferred/8",
    border: "border-deferred/40",
  },
};

/** An attempt that vanished with its worker is no task state, but is shown beside them. */
export const LOST_LOOK: StateLook = {
  word: "Lost",
  icon: Hourglass,
  text: "text-upstream",
  fill: "bg-upstream",
  soft: "bg-upstream/8",
  border: "border-upstream/40",
};
