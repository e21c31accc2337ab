import {
  Bell,
  Box,
  Circle,
  Clock,
  Cloud,
  Code,
  Database,
  File,
  FunctionSquare,
  Globe,
  KeyRound,
  type LucideIcon,
  Mail,
  MessageSquare,
  Puzzle,
  SquareTerminal,
} from "lucide-react";
import { type IconName, isIconName } from "#lib/domain/model/type-facts.ts";

const ICONS: Record<IconName, LucideIcon> = {
  bell: Bell,
  box: Box,
  circle: Circle,
  clock: Clock,
  cloud: Cloud,
  code: Code,
  database: Database,
  file: File,
  function: FunctionSquare,
  globe: Globe,
  key: KeyRound,
  mail: Mail,
  message: MessageSquare,
  puzzle: Puzzle,
  terminal: SquareTerminal,
};

/** What a type of task looks like: by name, or as a plugin draws it, in the manner of the others. */
export function TypeIcon({ icon, title }: { icon: string; title: string }) {
  const className = "size-3.5 shrink-0 text-ink-soft";
  const Icon = isIconName(icon) ? ICONS[icon] : undefined;
  return (
    <span title={title}>
      {Icon !== undefined ? (
        <Icon aria-hidden className={className} />
      ) : (
        <svg
          aria-hidden
          viewBox="0 0 24 24"
          fill="none"
          stroke="currentColor"
          strokeWidth={2}
          strokeLinecap="round"
          strokeLinejoin="round"
          className={className}
        >
          <path d={icon} />
        </svg>
      )}
    </span>
  );
}
