import { cn } from "#components/ui/cn.ts";

/** More than these are a task in trouble; its latest attempts tell why. */
const MAX_TABS = 12;

/** One tab per attempt, when there is more than one. */
export function AttemptTabs({
  count,
  shown,
  onSelect,
}: {
  count: number;
  shown: number;
  onSelect: (attempt: number) => void;
}) {
  if (count < 2) return null;
  const first = Math.max(1, count - MAX_TABS + 1);
  const numbers = Array.from({ length: count - first + 1 }, (_, index) => first + index);
  return (
    <div role="group" aria-label="Attempts" className="flex gap-0.5 rounded-md bg-sunken p-0.5">
      {numbers.map((number) => (
        <button
          key={number}
          type="button"
          aria-label={`Attempt ${number}`}
          aria-pressed={number === shown}
          onClick={() => onSelect(number)}
          className={cn(
            "h-6 min-w-6 rounded px-1.5 text-xs tabular-nums text-ink-soft hover:text-ink",
            number === shown && "bg-surface font-semibold text-ink shadow-xs",
          )}
        >
          {number}
        </button>
      ))}
    </div>
  );
}
