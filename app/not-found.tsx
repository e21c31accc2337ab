import Link from "next/link";
import { Message } from "#components/messages/message.tsx";
import { Button } from "#components/ui/button.tsx";

export default function NotFound() {
  return (
    <Message title="There is nothing here">
      <p className="text-ink-soft">
        No DAG or run has this address. Check it for a typing mistake, or look for the DAG in the list.
      </p>
      <Button asChild variant="outline">
        <Link href="/dags">All DAGs</Link>
      </Button>
    </Message>
  );
}
