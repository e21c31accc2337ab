import type { Metadata } from "next";
import { redirect } from "next/navigation";
import { Logo } from "#components/shell/logo.tsx";
import { SignInForm } from "#components/shell/sign-in-form.tsx";
import { Card } from "#components/ui/card.tsx";
import { safePath } from "#lib/auth/safe-path.ts";
import { currentUser } from "#lib/auth/session.ts";

export const metadata: Metadata = { title: "Sign in" };

export default async function LoginPage({
  searchParams,
}: {
  searchParams: Promise<Record<string, string | string[] | undefined>>;
}) {
  const { callbackUrl } = await searchParams;
  const target = safePath(typeof callbackUrl === "string" ? callbackUrl : undefined);
  if ((await currentUser()) !== undefined) redirect(target);
  return (
    <main className="grid min-h-dvh place-items-center p-4">
      <div className="grid w-full max-w-sm gap-5">
        <div className="flex items-center justify-center gap-2.5">
          <Logo className="size-8" />
          <h1 className="text-xl font-semibold tracking-tight">Sluice</h1>
        </div>
        <Card className="p-5">
          <SignInForm callbackUrl={target} />
        </Card>
        <p className="text-center text-xs text-ink-soft">
          The password of <code className="font-mono">admin</code> was printed at the first start.
        </p>
      </div>
    </main>
  );
}
