import type { ReactNode } from "react";
import { cn } from "./cn.ts";

/** What went wrong with what was just clicked, below the button; its place is `relative`. */
export function Bubble({ side = "right", children }: { side?: "left" | "right"; children: ReactNode }) {
  return (
    <span
      role="alert"
      className={cn(
        "absolute top-full z-10 mt-1 w-64 rounded-md border border-failed/40 bg-surface p-2 text-left text-xs whitespace-normal text-danger shadow-lg",
        side === "right" ? "right-0" : "left-0",
      )}
    >
      {children}
    </span>
  );
}
