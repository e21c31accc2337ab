import { Gauge, type Registry } from "prom-client";
import type { DatabaseAge } from "#lib/domain/database-age.ts";

/** Gauges of the database's age; returns how they are set. */
export function createAgeGauges(registry: Registry): (age: DatabaseAge) => void {
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers: [registry] });
  const xids = gauge("sluice_database_xid_age", "Transaction ids since the oldest that is not frozen.");
  const mxids = gauge("sluice_database_mxid_age", "Multixacts since the oldest that is not frozen.");
  const snapshotXids = gauge(
    "sluice_oldest_snapshot_xids",
    "Transactions since the oldest open snapshot; 0 when there is none.",
  );
  const snapshotSeconds = gauge(
    "sluice_oldest_snapshot_age_seconds",
    "Age of the transaction with the oldest open snapshot; 0 when there is none, or it is a replication slot's.",
  );
  return ({ xidAge, mxidAge, oldestSnapshot }) => {
    xids.set(xidAge);
    mxids.set(mxidAge);
    snapshotXids.set(oldestSnapshot?.xids ?? 0);
    snapshotSeconds.set(oldestSnapshot?.seconds ?? 0);
  };
}
