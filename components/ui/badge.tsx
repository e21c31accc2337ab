import type { ComponentProps } from "react";
import { cn } from "./cn.ts";

/** A small quiet label, as for tags. */
export function Badge({ className, ...props }: ComponentProps<"span">) {
  return (
    <span
      className={cn(
        "inline-flex items-center gap-1 rounded border border-line bg-sunken px-1.5 py-px text-xs text-ink-soft",
        className,
      )}
      {...props}
    />
  );
}
