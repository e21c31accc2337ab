import { SLOT_CLASSES, type SlotClass } from "./states.ts";

/** A queue label and a slot class: a worker without a free slot of a class takes no tasks of that class. */
export type Lane = { queue: string; slotClass: SlotClass };

/** The lane's name in announcements: `default.process`. Labels have no dots. */
export function laneName({ queue, slotClass }: Lane): string {
  return `${queue}.${slotClass}`;
}

/** Names, in announcements, the attempts that only this worker may take. No lane has such a name. */
export function ownName(workerId: string): string {
  return `@${workerId}`;
}

export function lanesOf(queues: readonly string[]): Lane[] {
  return queues.flatMap((queue) => SLOT_CLASSES.map((slotClass) => ({ queue, slotClass })));
}
