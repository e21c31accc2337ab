import { cn } from "#components/ui/cn.ts";
import type { LogLevel } from "#lib/domain/log-lines/level-words.ts";

/** From which level on lines are shown; the first shows them all. */
const CHOICES: readonly { least: LogLevel | undefined; word: string }[] = [
  { least: undefined, word: "All" },
  { least: "info", word: "Info" },
  { least: "warn", word: "Warnings" },
  { least: "error", word: "Errors" },
];

type Props = {
  shown: LogLevel | undefined;
  counts: Partial<Record<LogLevel, number>>;
  onSelect: (least: LogLevel | undefined) => void;
};

/** Chooses the lines of a log by how grave they are; says how many errors and warnings there are. */
export function LevelChips({ shown, counts, onSelect }: Props) {
  return (
    <div role="group" aria-label="Least level" className="ml-auto flex gap-0.5 rounded-md bg-sunken p-0.5">
      {CHOICES.map(({ least, word }) => {
        const count = least === undefined ? 0 : (counts[least] ?? 0);
        return (
          <button
            key={word}
            type="button"
            aria-pressed={least === shown}
            onClick={() => onSelect(least)}
            className={cn(
              "inline-flex h-6 items-center gap-1 rounded px-2 text-ink-soft hover:text-ink",
              least === shown && "bg-surface font-semibold text-ink shadow-xs",
            )}
          >
            {word}
            {count > 0 ? <span className="font-normal tabular-nums">{count.toLocaleString("en")}</span> : null}
          </button>
        );
      })}
    </div>
  );
}
