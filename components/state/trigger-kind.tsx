import { CalendarClock, CirclePlay, CodeXml, History, type LucideIcon, Workflow, Zap } from "lucide-react";
import type { TriggerKind as Kind } from "#lib/domain/states.ts";

const LOOKS: Record<Kind, { word: string; icon: LucideIcon }> = {
  schedule: { word: "Schedule", icon: CalendarClock },
  manual: { word: "Manual", icon: CirclePlay },
  api: { word: "API", icon: CodeXml },
  backfill: { word: "Backfill", icon: History },
  dag: { word: "DAG", icon: Workflow },
  event: { word: "Event", icon: Zap },
};

/** What started a run, as icon and word. */
export function TriggerKind({ kind }: { kind: Kind }) {
  const { word, icon: Icon } = LOOKS[kind];
  return (
    <span className="inline-flex items-center gap-1.5 align-middle whitespace-nowrap text-ink-soft">
      <Icon aria-hidden className="size-3.5" />
      {word}
    </span>
  );
}
