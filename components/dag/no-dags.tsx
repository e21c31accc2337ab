import { FolderInput } from "lucide-react";
import { Card } from "#components/ui/card.tsx";

const EXAMPLE = `id: hello
tasks:
  - id: greet
    bash: echo "Hello from Sluice"`;

/** There is nothing yet: what to do about it. */
export function NoDags({ folder }: { folder: string }) {
  return (
    <Card className="mx-auto grid max-w-xl gap-3 p-6">
      <FolderInput aria-hidden className="size-6 text-ink-soft" />
      <h2 className="text-base font-semibold">No DAGs yet</h2>
      <p className="text-ink-soft">
        Save this as <code className="font-mono text-xs text-ink">hello.yaml</code> in{" "}
        <code className="font-mono text-xs break-all text-ink">{folder}</code>. It shows up here within seconds of
        reloading.
      </p>
      <pre className="overflow-x-auto rounded-md bg-sunken p-3 font-mono text-xs leading-5">{EXAMPLE}</pre>
    </Card>
  );
}
