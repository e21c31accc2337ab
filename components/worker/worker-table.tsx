import { TriangleAlert } from "lucide-react";
import { Card } from "#components/ui/card.tsx";
import { cn } from "#components/ui/cn.ts";
import { Table, Td, Th, Tr } from "#components/ui/table.tsx";
import { formatClock } from "#components/time/format.ts";
import type { Worker, WorkerState } from "#lib/contract/workers.ts";

const WORDS: Record<WorkerState, string> = {
  active: "takes tasks",
  trouble: "starts no task",
  draining: "ends what it has",
  stopped: "stopped",
  gone: "not heard of",
};

/** Each worker with what it does, and why one starts nothing. */
export function WorkerTable({ workers }: { workers: readonly Worker[] }) {
  if (workers.length === 0) return <p className="text-ink-soft">No worker has been started yet.</p>;
  return (
    <Card>
      <Table>
        <thead>
          <tr>
            {["Worker", "State", "Running", "Slots", "Queues", "Version", "Started"].map((title) => (
              <Th key={title}>{title}</Th>
            ))}
          </tr>
        </thead>
        <tbody>
          {workers.map((worker) => (
            <WorkerRow key={worker.id} worker={worker} />
          ))}
        </tbody>
      </Table>
    </Card>
  );
}

function WorkerRow({ worker }: { worker: Worker }) {
  const { process, function: functions, inline } = worker.slots;
  const isOver = worker.state === "stopped" || worker.state === "gone";
  return (
    <Tr className={cn(isOver && "text-ink-soft")}>
      <Td>
        <span className="font-medium">{worker.id}</span>
        <span className="block text-xs text-ink-soft">
          {worker.host}, pid {worker.pid}
        </span>
      </Td>
      <Td>
        {WORDS[worker.state]}
        {worker.trouble === null ? null : <Trouble worker={worker} why={worker.trouble} />}
      </Td>
      <Td className="tabular-nums">{worker.running}</Td>
      <Td className="whitespace-nowrap tabular-nums">
        {process} process, {functions} function, {inline} inline
      </Td>
      <Td>{worker.queues.join(", ")}</Td>
      <Td>{worker.version}</Td>
      <Td className="whitespace-nowrap">{formatClock(worker.startedAt)} UTC</Td>
    </Tr>
  );
}

function Trouble({ worker, why }: { worker: Worker; why: string }) {
  return (
    <span className="flex items-start gap-1.5 text-xs text-danger">
      <TriangleAlert aria-hidden className="mt-px size-3.5 shrink-0" />
      <span className="min-w-0 break-words">
        {why}
        {worker.troubleSince === null ? null : <>, since {formatClock(worker.troubleSince)} UTC</>}
      </span>
    </span>
  );
}
