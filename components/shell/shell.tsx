import Link from "next/link";
import type { ReactNode } from "react";
import { Logo } from "./logo.tsx";
import { SignOut } from "./sign-out.tsx";

const PAGES = [
  { href: "/dags", name: "DAGs" },
  { href: "/workers", name: "Workers" },
];

/** The frame of every page behind the sign-in. */
export function Shell({ userName, children }: { userName: string; children: ReactNode }) {
  return (
    <div className="flex min-h-dvh flex-col">
      <a href="#main" className="sr-only focus:not-sr-only focus:absolute focus:z-50 focus:bg-surface focus:p-2">
        Skip to content
      </a>
      <header className="sticky top-0 z-20 border-b border-line bg-surface/90 backdrop-blur">
        <div className="mx-auto flex h-12 w-full max-w-[110rem] items-center gap-5 px-4">
          <Link href="/dags" className="flex items-center gap-2 font-semibold tracking-tight">
            <Logo className="size-6" />
            Sluice
          </Link>
          <nav aria-label="Main" className="flex gap-1">
            {PAGES.map(({ href, name }) => (
              <Link
                key={href}
                href={href}
                className="rounded-md px-2 py-1 font-medium text-ink-soft hover:bg-sunken hover:text-ink"
              >
                {name}
              </Link>
            ))}
          </nav>
          <div className="ml-auto flex items-center gap-2">
            <span className="max-w-40 truncate text-ink-soft">{userName}</span>
            <SignOut />
          </div>
        </div>
      </header>
      <main id="main" className="mx-auto w-full max-w-[110rem] flex-1 px-4 py-5">
        {children}
      </main>
    </div>
  );
}
