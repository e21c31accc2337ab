import { Handle, type NodeProps, Position } from "@xyflow/react";
import { memo } from "react";
import { STATE_LOOKS } from "#components/state/state-looks.ts";
import { StateIcon } from "#components/state/state-badge.tsx";
import { Duration } from "#components/time/duration.tsx";
import { cn } from "#components/ui/cn.ts";
import type { TaskInstance } from "#lib/contract/task-instances.ts";
import { TypeIcon } from "./type-icon.tsx";
import type { TaskNode as TaskNodeType, TaskNodeData } from "./overlay.ts";

/** A task as a card: what runs it, its id, how it stands. */
export const TaskNode = memo(
  function TaskNode({ data }: NodeProps<TaskNodeType>) {
    return (
      <>
        <Handle type="target" position={Position.Left} isConnectable={false} />
        <Card data={data} />
        <Handle type="source" position={Position.Right} isConnectable={false} />
      </>
    );
  },
  ({ data: a }, { data: b }) =>
    a.instance === b.instance &&
    a.selected === b.selected &&
    a.faded === b.faded &&
    a.task === b.task &&
    a.look === b.look,
);

function Card({ data: { task, look: type, instance, selected, faded, serverNow } }: { data: TaskNodeData }) {
  const { displayName, icon } = type ?? { displayName: task.type, icon: "puzzle" };
  const look = instance === undefined ? undefined : STATE_LOOKS[instance.state];
  return (
    <button
      type="button"
      data-task={task.id}
      data-state={instance?.state}
      aria-pressed={instance === undefined ? undefined : selected}
      aria-label={look === undefined ? `Task ${task.id}` : `Task ${task.id}: ${look.word}`}
      className={cn(
        "relative flex size-full flex-col justify-center gap-1 overflow-hidden rounded-lg border border-line bg-surface pr-3 pl-4 text-left shadow-xs transition-opacity",
        look?.border,
        selected && "ring-2 ring-accent-text",
        faded && "opacity-45",
      )}
    >
      <span aria-hidden className={cn("absolute inset-y-0 left-0 w-1", look?.fill ?? "bg-line-strong")} />
      <span className="flex items-center gap-1.5">
        <TypeIcon icon={icon} title={displayName} />
        <span className="truncate font-medium" title={task.id}>
          {task.id}
        </span>
      </span>
      {instance === undefined ? (
        <span className="text-xs text-ink-soft">{displayName}</span>
      ) : (
        <Standing instance={instance} serverNow={serverNow} />
      )}
    </button>
  );
}

function Standing({ instance, serverNow }: { instance: TaskInstance; serverNow: string }) {
  const look = STATE_LOOKS[instance.state];
  return (
    <span className="flex items-center gap-1.5 text-xs">
      <StateIcon state={instance.state} className="size-3.5" />
      <span className={cn("truncate font-medium", look.text)}>{look.word}</span>
      <span className="ml-auto flex gap-2 text-ink-soft">
        {instance.attempt > 1 ? <span title={`Attempt ${instance.attempt}`}>#{instance.attempt}</span> : null}
        {instance.startedAt === null ? null : (
          <Duration startedAt={instance.startedAt} endedAt={instance.endedAt} serverNow={serverNow} />
        )}
      </span>
    </span>
  );
}
