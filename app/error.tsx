"use client";

import { Message } from "#components/messages/message.tsx";
import { Button } from "#components/ui/button.tsx";

export default function ErrorPage({ error, reset }: { error: Error & { digest?: string }; reset: () => void }) {
  return (
    <Message title="This page could not be made">
      <p className="text-ink-soft">
        Most often the database does not answer: check that Postgres is running, then try again. The log of the web
        process says more{error.digest === undefined ? "" : ` under digest ${error.digest}`}.
      </p>
      <Button variant="outline" onClick={reset}>
        Try again
      </Button>
    </Message>
  );
}
