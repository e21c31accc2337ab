import { LOG_LEVELS, type LogLevel } from "#lib/domain/log-lines/level-words.ts";
import { usePathname, useSearchParams } from "next/navigation";

export type Selection = {
  taskId: string | undefined;
  attempt: number | undefined;
  /** From which level on lines of the log are shown. */
  level: LogLevel | undefined;
  selectTask: (taskId: string) => void;
  selectAttempt: (attempt: number) => void;
  selectLevel: (level: LogLevel | undefined) => void;
};

/** The selected task, attempt and level live in the address, so that a link shows the same thing. */
export function useSelection(): Selection {
  const search = useSearchParams();
  const path = usePathname();
  // The server has nothing to add: the address changes without asking it.
  const put = (changes: Record<string, string | undefined>): void => {
    const all = { ...Object.fromEntries(search), ...changes };
    const entries = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined);
    window.history.replaceState(null, "", `${path}?${new URLSearchParams(entries)}`);
  };
  const taskId = search.get("task") ?? undefined;
  const attempt = Number(search.get("attempt") ?? "");
  return {
    taskId,
    attempt: Number.isInteger(attempt) && attempt > 0 ? attempt : undefined,
    level: LOG_LEVELS.find((level) => level === search.get("level")),
    selectTask: (task) => put({ task, attempt: undefined }),
    selectAttempt: (number) => put({ task: taskId ?? "", attempt: String(number) }),
    selectLevel: (level) => put({ level }),
  };
}
