"use client";

import { LogOut } from "lucide-react";
import { signOut } from "next-auth/react";
import { Button } from "#components/ui/button.tsx";

export function SignOut() {
  return (
    <Button variant="ghost" size="sm" onClick={() => void signOut({ callbackUrl: "/login" })}>
      <LogOut aria-hidden />
      Sign out
    </Button>
  );
}
