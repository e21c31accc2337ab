import { usePathname, useSearchParams } from "next/navigation";

export type Selection = {
  taskId: string | undefined;
  attempt: number | undefined;
  selectTask: (taskId: string) => void;
  selectAttempt: (attempt: number) => void;
};

/** The selected task and attempt live in the address, so that a link shows the same thing. */
export function useSelection(): Selection {
  const search = useSearchParams();
  const path = usePathname();
  // The server has nothing to add: the address changes without asking it.
  const put = (entries: Record<string, string>): void =>
    window.history.replaceState(null, "", `${path}?${new URLSearchParams(entries)}`);
  const taskId = search.get("task") ?? undefined;
  const attempt = Number(search.get("attempt") ?? "");
  return {
    taskId,
    attempt: Number.isInteger(attempt) && attempt > 0 ? attempt : undefined,
    selectTask: (task) => put({ task }),
    selectAttempt: (number) => put({ task: taskId ?? "", attempt: String(number) }),
  };
}
