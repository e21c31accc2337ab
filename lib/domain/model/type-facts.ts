import type { SlotClass } from "../states.ts";

/** What a type of task may look like without a drawing of its own. */
export const ICON_NAMES = [
  "bell",
  "box",
  "circle",
  "clock",
  "cloud",
  "code",
  "database",
  "file",
  "function",
  "globe",
  "key",
  "mail",
  "message",
  "puzzle",
  "terminal",
] as const;
export type IconName = (typeof ICON_NAMES)[number];

export function isIconName(icon: string): icon is IconName {
  return (ICON_NAMES as readonly string[]).includes(icon);
}

/** What people see of a type of task. */
export type TypeLook = {
  displayName: string;
  /** A name of `ICON_NAMES`, or the path of a drawing of 24 by 24 in lines: the `d` of an SVG's `path`. */
  icon: string;
};

/** What is known of a type of task without what checks or runs it. */
export type TypeFacts = TypeLook & {
  about: string;
  /** Which of a worker's slots the task takes. */
  slotClass: SlotClass;
  /** The member that a plain text stands for. */
  shorthand: string | undefined;
  /** Members with expressions that other users of the machine can read while the task runs: no place for a secret. */
  visible: readonly string[];
};
