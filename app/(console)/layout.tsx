import type { ReactNode } from "react";
import { Shell } from "#components/shell/shell.tsx";
import { currentUser } from "#lib/auth/session.ts";

export default async function ConsoleLayout({ children }: { children: ReactNode }) {
  const user = await currentUser();
  return <Shell userName={user?.name ?? ""}>{children}</Shell>;
}
