"use client";

import { formText } from "#components/ui/form-text.ts";
import { signIn } from "next-auth/react";
import { type SubmitEvent, useState } from "react";
import { Alert } from "#components/ui/alert.tsx";
import { Button } from "#components/ui/button.tsx";
import { Input } from "#components/ui/input.tsx";
import { Label } from "#components/ui/label.tsx";
import { useHydrated } from "#components/ui/use-hydrated.ts";

/** What the server's word for a refusal means to a person; undefined for one that is none of its own. */
function messageOf(error: string): string | undefined {
  if (error === "CredentialsSignin") return "Name or password is wrong.";
  const [, seconds] = /^too_many_attempts:(\d{1,3})$/.exec(error) ?? [];
  if (seconds === undefined) return undefined;
  return `Too many wrong passwords. Try again in ${seconds} ${seconds === "1" ? "second" : "seconds"}.`;
}

/** Name and password; goes to `callbackUrl`, a path of this site, when they are right. */
export function SignInForm({ callbackUrl }: { callbackUrl: string }) {
  const hydrated = useHydrated();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();
  const submit = async (event: SubmitEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setProblem(await trySignIn(formText(form, "name"), formText(form, "password"), callbackUrl));
    setBusy(false);
  };
  return (
    // Without a script the password must not end up in the address.
    <form method="post" className="grid gap-4" onSubmit={(event) => void submit(event)}>
      {problem === undefined ? null : <Alert>{problem}</Alert>}
      <div className="grid gap-1.5">
        <Label htmlFor="name">Name</Label>
        <Input id="name" name="name" autoComplete="username" autoCapitalize="none" required autoFocus maxLength={256} />
      </div>
      <div className="grid gap-1.5">
        <Label htmlFor="password">Password</Label>
        <Input
          id="password"
          name="password"
          type="password"
          autoComplete="current-password"
          required
          maxLength={1024}
        />
      </div>
      <Button type="submit" className="mt-1 h-9" disabled={!hydrated || busy} aria-busy={busy}>
        Sign in
      </Button>
    </form>
  );
}

/** What to say when it did not work; on success the browser is already leaving. */
async function trySignIn(name: string, password: string, callbackUrl: string): Promise<string | undefined> {
  const unreachable = "The server did not answer. Check that Sluice is running, then try again.";
  try {
    const result = await signIn("credentials", { name, password, callbackUrl, redirect: false });
    if (result?.ok && !result.error) {
      // A full load: nothing that was rendered for nobody stays in the router's cache.
      window.location.assign(callbackUrl);
      return undefined;
    }
    return messageOf(result?.error ?? "") ?? unreachable;
  } catch {
    return unreachable;
  }
}
