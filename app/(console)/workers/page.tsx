import type { Metadata } from "next";
import { WorkerTable } from "#components/worker/worker-table.tsx";
import { requireUser } from "#lib/auth/session.ts";
import { webDeps } from "#lib/boot.ts";
import { listWorkers } from "#lib/db/worker-reads.ts";

export const metadata: Metadata = { title: "Workers" };

export default async function WorkersPage() {
  await requireUser("/workers");
  const { engine } = await webDeps();
  const workers = await listWorkers(engine.pool);
  return (
    <div className="grid gap-4">
      <h1 className="text-xl font-semibold tracking-tight">Workers</h1>
      <WorkerTable workers={workers} />
    </div>
  );
}
