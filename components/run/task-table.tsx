import { StateWord } from "#components/state/state-badge.tsx";
import { Duration } from "#components/time/duration.tsx";
import { Time } from "#components/time/time.tsx";
import { cn } from "#components/ui/cn.ts";
import { Table, Td, Th, Tr } from "#components/ui/table.tsx";
import type { TaskInstance } from "#lib/contract/task-instances.ts";

type Props = {
  tasks: readonly TaskInstance[];
  selected: string | undefined;
  serverNow: string;
  onSelect: (taskId: string) => void;
};

/** Every task of the run with its state, times and worker. */
export function TaskTable({ tasks, selected, serverNow, onSelect }: Props) {
  return (
    <div className="max-h-[32rem] overflow-y-auto">
      <Table>
        <thead className="sticky top-0 z-10 bg-sunken">
          <tr>
            <Th>Task</Th>
            <Th>State</Th>
            <Th className="text-right">Attempt</Th>
            <Th>Started (UTC)</Th>
            <Th className="text-right">Duration</Th>
            <Th>Worker</Th>
          </tr>
        </thead>
        <tbody>
          {tasks.map((task) => (
            <Tr key={task.id} className={cn("hover:bg-sunken/50", task.taskId === selected && "bg-accent/8")}>
              <Td>
                <button
                  type="button"
                  aria-pressed={task.taskId === selected}
                  className="text-left font-medium whitespace-nowrap text-accent-text hover:underline"
                  onClick={() => onSelect(task.taskId)}
                >
                  {task.taskId}
                </button>
              </Td>
              <Td>
                <StateWord state={task.state} />
                {task.waitsFor === null ? null : (
                  <span className="block max-w-64 truncate text-xs text-ink-soft" title={task.waitsFor}>
                    {task.waitsFor}
                  </span>
                )}
              </Td>
              <Td className="text-right tabular-nums">{task.attempt === 0 ? "–" : task.attempt}</Td>
              <Td>
                <Time at={task.startedAt} clockOnly />
              </Td>
              <Td className="text-right">
                <Duration startedAt={task.startedAt} endedAt={task.endedAt} serverNow={serverNow} />
              </Td>
              <Td className="max-w-48 truncate text-ink-soft">{task.workerId ?? "–"}</Td>
            </Tr>
          ))}
        </tbody>
      </Table>
    </div>
  );
}
