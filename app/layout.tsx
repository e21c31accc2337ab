import type { Metadata } from "next";
import { connection } from "next/server";
import type { ReactNode } from "react";
import "./globals.css";

export const metadata: Metadata = { title: { default: "Sluice", template: "%s · Sluice" } };

export default async function RootLayout({ children }: { children: ReactNode }) {
  // Every page is made per request: a page made at build time could not carry the nonce of its policy.
  await connection();
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
