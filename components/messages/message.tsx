import type { ReactNode } from "react";
import { Logo } from "#components/shell/logo.tsx";

/** A page that has only something to say. */
export function Message({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="mx-auto grid min-h-[60dvh] max-w-md content-center justify-items-start gap-3 p-6">
      <Logo className="size-8" />
      <h1 className="text-lg font-semibold">{title}</h1>
      {children}
    </div>
  );
}
