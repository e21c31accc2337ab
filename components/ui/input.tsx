import type { ComponentProps } from "react";
import { cn } from "./cn.ts";

const FIELD =
  "w-full rounded-md border border-line-strong bg-surface px-2.5 text-sm text-ink placeholder:text-ink-soft focus-visible:outline-offset-0 disabled:opacity-60";

export function Input({ className, ...props }: ComponentProps<"input">) {
  return <input className={cn(FIELD, "h-9", className)} {...props} />;
}

export function Textarea({ className, ...props }: ComponentProps<"textarea">) {
  return <textarea className={cn(FIELD, "py-2 font-mono text-xs leading-5", className)} {...props} />;
}
