import { Label as LabelParts } from "radix-ui";
import type { ComponentProps } from "react";
import { cn } from "./cn.ts";

export function Label({ className, ...props }: ComponentProps<typeof LabelParts.Root>) {
  return <LabelParts.Root className={cn("text-xs font-medium text-ink-soft", className)} {...props} />;
}
