import { CircleAlert } from "lucide-react";
import type { ReactNode } from "react";

/** Something went wrong, said where the eye is. */
export function Alert({ children }: { children: ReactNode }) {
  return (
    <div
      role="alert"
      className="flex items-start gap-2 rounded-md border border-failed/40 bg-failed/8 px-3 py-2 text-danger"
    >
      <CircleAlert aria-hidden className="mt-0.5 size-4 shrink-0" />
      <div className="min-w-0">{children}</div>
    </div>
  );
}
